package com.example.mid;

import java.io.IOException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/** One client library. An answer of any status is an answer. */
interface Client {

    /** Asks for NEXT/path and waits for the answer. */
    void get(String path) throws IOException;

    /** Asks for it without waiting: by the library's own means, if it has some. */
    default CompletableFuture<Void> send(String path, Executor executor) {
        return CompletableFuture.runAsync(() -> Work.unchecked(() -> get(path)), executor);
    }
}
