package com.example.mid;

import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import org.eclipse.jetty.util.thread.QueuedThreadPool;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.autoconfigure.websocket.servlet.WebSocketServletAutoConfiguration;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.boot.web.embedded.jetty.JettyServletWebServerFactory;
import org.springframework.boot.web.embedded.tomcat.TomcatServletWebServerFactory;
import org.springframework.boot.web.embedded.undertow.UndertowServletWebServerFactory;
import org.springframework.boot.web.servlet.server.ServletWebServerFactory;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.ComponentScan;
import org.springframework.context.event.EventListener;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;

/** Spring MVC on Tomcat, Jetty or Undertow. */
@RestController
@SpringBootApplication(exclude = WebSocketServletAutoConfiguration.class)
@ComponentScan(useDefaultFilters = false)
public class Servlets {

    @Bean
    ServletWebServerFactory server() {
        if (Settings.SERVER.equals("tomcat")) {
            TomcatServletWebServerFactory factory = new TomcatServletWebServerFactory();
            factory.addConnectorCustomizers(
                    connector -> Work.use(task -> connector.getProtocolHandler().getExecutor().execute(task)));
            return factory;
        }
        if (Settings.SERVER.equals("undertow")) {
            UndertowServletWebServerFactory factory = new UndertowServletWebServerFactory();
            factory.setWorkerThreads(200);
            return factory;
        }
        JettyServletWebServerFactory factory = new JettyServletWebServerFactory();
        if (!Settings.THREADS.equals("virtual")) {
            // A request and what it hands to the server's own threads take two at once.
            factory.setThreadPool(new QueuedThreadPool(400));
        }
        factory.addServerCustomizers(server -> Work.use(server.getThreadPool()));
        return factory;
    }

    @EventListener(ApplicationReadyEvent.class)
    void started() {
        Work.startJob();
    }

    @GetMapping("/")
    String home() {
        return "mid\n";
    }

    @GetMapping("/{route}/{id}")
    CompletableFuture<Void> route(@PathVariable String route, @PathVariable String id, HttpServletResponse response)
            throws IOException, InterruptedException {
        if (Settings.STYLE.equals("async")) {
            return CompletableFuture.runAsync(() -> Work.unchecked(() -> perform(route, id, response)), Work.executor());
        }
        perform(route, id, response);
        return null;
    }

    private static void perform(String route, String id, HttpServletResponse response)
            throws IOException, InterruptedException {
        // Only what is streamed goes out before the end.
        boolean streams = route.equals("stream");
        boolean known = Work.perform(route, id, piece -> {
            response.getOutputStream().write(piece.getBytes(StandardCharsets.UTF_8));
            if (streams) {
                response.flushBuffer();
            }
        });
        if (!known) {
            response.sendError(404);
        }
    }
}
