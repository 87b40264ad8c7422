package com.example.mid;

import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.boot.web.embedded.netty.NettyReactiveWebServerFactory;
import org.springframework.boot.web.reactive.server.ReactiveWebServerFactory;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.ComponentScan;
import org.springframework.context.event.EventListener;
import org.springframework.core.io.buffer.DataBuffer;
import org.springframework.http.HttpStatus;
import org.springframework.http.client.reactive.ReactorClientHttpConnector;
import org.springframework.http.server.reactive.ServerHttpResponse;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.reactive.function.client.WebClient;
import org.springframework.web.server.ResponseStatusException;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.netty.http.client.HttpClient;
import reactor.netty.resources.ConnectionProvider;
import reactor.netty.resources.LoopResources;

/** WebFlux on Netty, with WebClient: nothing blocks. */
@RestController
@SpringBootApplication
@ComponentScan(useDefaultFilters = false)
public class Reactive {

    private static final LoopResources LOOPS =
            Settings.LOOPS.isEmpty() ? null : LoopResources.create(Settings.LOOPS, 3, true);
    private final WebClient client = client();
    private final AtomicInteger lookups = new AtomicInteger();
    private Mono<Void> lookup;

    @Bean
    ReactiveWebServerFactory server() {
        NettyReactiveWebServerFactory factory = new NettyReactiveWebServerFactory();
        if (LOOPS != null) {
            factory.addServerCustomizers(server -> server.runOn(LOOPS));
        }
        return factory;
    }

    private static WebClient client() {
        int limit = Settings.LIMIT > 0 ? Settings.LIMIT : 500;
        ConnectionProvider pool =
                ConnectionProvider.builder("mid").maxConnections(limit).pendingAcquireMaxCount(-1).build();
        HttpClient http = Settings.closes() ? HttpClient.newConnection() : HttpClient.create(pool);
        if (LOOPS != null) {
            http = http.runOn(LOOPS);
        }
        return WebClient.builder()
                .baseUrl(Settings.NEXT)
                .clientConnector(new ReactorClientHttpConnector(http))
                .build();
    }

    @EventListener(ApplicationReadyEvent.class)
    void started() {
        if (Settings.JOB_MS > 0) {
            Flux.interval(Duration.ZERO, Duration.ofMillis(Settings.JOB_MS))
                    .onBackpressureDrop()
                    .flatMap(n -> get("/leaf/job-" + n + "/0").onErrorComplete())
                    .subscribe();
        }
    }

    @GetMapping("/")
    Mono<String> home() {
        return Mono.just("mid\n");
    }

    @GetMapping("/stream/{id}")
    Mono<Void> stream(@PathVariable String id, ServerHttpResponse response) {
        Flux<Mono<DataBuffer>> pieces = Flux.just(
                Mono.fromSupplier(() -> piece(response, "first ")),
                leaf(id, 0).then(Mono.fromSupplier(() -> piece(response, "second "))),
                leaf(id, 1).then(Mono.fromSupplier(() -> piece(response, "done\n"))));
        return response.writeAndFlushWith(pieces.concatMap(Mono::just));
    }

    private static DataBuffer piece(ServerHttpResponse response, String text) {
        return response.bufferFactory().wrap(text.getBytes());
    }

    @GetMapping("/{route}/{id}")
    Mono<String> route(@PathVariable String route, @PathVariable String id) {
        return work(route, id).thenReturn("done\n");
    }

    private Mono<Void> work(String route, String id) {
        return switch (route) {
            case "one" -> leaf(id, 0);
            case "seq" -> leaf(id, 0).then(leaf(id, 1)).then(leaf(id, 2));
            case "par" -> Mono.when(leaf(id, 0), leaf(id, 1), leaf(id, 2));
            case "mix" -> leaf(id, 0).then(Mono.when(leaf(id, 1), leaf(id, 2), leaf(id, 3)));
            case "timer" -> Mono.delay(Duration.ofMillis(5)).then(leaf(id, 0));
            case "pool" -> Mono.fromRunnable(() -> leaf(id, 0).block())
                    .subscribeOn(Schedulers.boundedElastic())
                    .then();
            case "shared" -> Mono.defer(this::lookup).then(leaf(id, 0));
            case "late" -> Mono.defer(this::lookup).then(leaf(id, 0)).then(Mono.delay(Duration.ofMillis(5))).then();
            case "retry" -> get("/fail/" + id + "/0").then(leaf(id, 1));
            case "poll" -> Mono.delay(Duration.ofMillis(20), Schedulers.boundedElastic()).then(leaf(id, 0));
            default -> Mono.error(new ResponseStatusException(HttpStatus.NOT_FOUND));
        };
    }

    private Mono<Void> leaf(String id, int k) {
        return get("/leaf/" + id + "/" + k);
    }

    private Mono<Void> get(String path) {
        return client.get().uri(path).exchangeToMono(answer -> answer.bodyToMono(String.class)).then();
    }

    /** The lookup that is under way, begun by whoever comes first. */
    private synchronized Mono<Void> lookup() {
        if (lookup == null) {
            lookup = get("/leaf/shared-" + lookups.incrementAndGet() + "/0")
                    .doFinally(end -> forget())
                    .cache();
        }
        return lookup;
    }

    private synchronized void forget() {
        lookup = null;
    }
}
