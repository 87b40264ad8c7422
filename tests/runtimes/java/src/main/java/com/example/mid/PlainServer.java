package com.example.mid;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;

/** The JDK's own server, with an executor. */
final class PlainServer {

    private PlainServer() {
    }

    static void start() throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Settings.PORT), 512);
        ExecutorService threads = Work.newExecutor();
        Work.use(threads);
        server.setExecutor(threads);
        server.createContext("/", PlainServer::handle);
        server.start();
        Work.startJob();
    }

    private static void handle(HttpExchange exchange) throws IOException {
        String[] parts = exchange.getRequestURI().getPath().split("/");
        boolean asks = parts.length == 3;
        // The head goes out with the first piece, so that a call that comes before it is made before the answer.
        Lazy body = new Lazy(exchange);
        try {
            if (!asks) {
                body.write("mid\n");
            } else if (!Work.perform(parts[1], parts[2], body)) {
                exchange.sendResponseHeaders(404, -1);
            }
        } catch (InterruptedException interrupted) {
            throw new IOException(interrupted);
        } finally {
            exchange.close();
        }
    }

    /** An answer of unknown length that begins when there is something to say. */
    private record Lazy(HttpExchange exchange) implements Work.Output {

        @Override
        public void write(String piece) throws IOException {
            if (exchange.getResponseCode() < 0) {
                exchange.sendResponseHeaders(200, 0);
            }
            OutputStream body = exchange.getResponseBody();
            body.write(piece.getBytes(StandardCharsets.UTF_8));
            body.flush();
        }
    }
}
