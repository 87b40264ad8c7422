package com.example.mid;

/** What the environment says; see tests/runtimes. */
final class Settings {

    /** tomcat, jetty, undertow, netty, vertx, jdk. */
    static final String SERVER = text("SERVER", "tomcat");
    /** resttemplate, resttemplate-pool, urlconnection, jdk, okhttp, webclient, vertx. */
    static final String CLIENT = text("CLIENT", "resttemplate");
    /** own: the application has an executor of its own; server: it uses the server's; common: the virtual machine's. */
    static final String POOL = text("POOL", "own");
    /** blocking: a request's thread waits for the answer; async: it goes back to its pool. */
    static final String STYLE = text("STYLE", "blocking");
    /** platform, virtual (JDK 21). */
    static final String THREADS = text("THREADS", "platform");
    /** What the threads of Netty are called; empty: as it calls them. */
    static final String LOOPS = text("LOOPS", "");
    static final String NEXT = text("NEXT", "http://localhost:8081");
    static final int PORT = Integer.parseInt(text("PORT", "8080"));
    /** Pooled connections: 1 yes, 0 no, null the client's default. */
    static final String KEEPALIVE = System.getenv("KEEPALIVE");
    /** 0: the client's default. */
    static final int LIMIT = Integer.parseInt(text("LIMIT", "0"));
    /** 0: no job. */
    static final int JOB_MS = Integer.parseInt(text("JOB_MS", "0"));

    private Settings() {
    }

    static boolean closes() {
        return "0".equals(KEEPALIVE);
    }

    private static String text(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }
}
