package com.example.mid;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.WebApplicationType;

/** Starts the service on the server that SERVER names. */
public final class Mid {

    private Mid() {
    }

    public static void main(String[] arguments) throws Exception {
        switch (Settings.SERVER) {
            case "jdk" -> PlainServer.start();
            case "netty" -> spring(Reactive.class, WebApplicationType.REACTIVE, arguments);
            case "vertx" -> VertxServer.launch();
            case "tomcat", "jetty", "undertow" -> spring(Servlets.class, WebApplicationType.SERVLET, arguments);
            default -> throw new IllegalArgumentException("unknown SERVER " + Settings.SERVER);
        }
    }

    private static void spring(Class<?> application, WebApplicationType type, String[] arguments) {
        if (Settings.THREADS.equals("virtual")) {
            System.setProperty("spring.threads.virtual.enabled", "true");
        }
        SpringApplication spring = new SpringApplication(application);
        spring.setWebApplicationType(type);
        spring.run(arguments);
    }
}
