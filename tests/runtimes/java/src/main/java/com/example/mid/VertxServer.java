package com.example.mid;

import io.vertx.core.AbstractVerticle;
import io.vertx.core.DeploymentOptions;
import io.vertx.core.Future;
import io.vertx.core.Promise;
import io.vertx.core.Vertx;
import io.vertx.core.VertxOptions;
import io.vertx.core.http.HttpClient;
import io.vertx.core.http.HttpClientOptions;
import io.vertx.core.http.HttpMethod;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.core.http.RequestOptions;
import java.util.concurrent.atomic.AtomicInteger;

/** Vert.x, its server and its client, on three event loops. */
final class VertxServer extends AbstractVerticle {

    private static final int LOOPS = 3;
    private static final AtomicInteger JOBS = new AtomicInteger();
    private static HttpClient client;

    static void launch() {
        Vertx vertx = Vertx.vertx(new VertxOptions().setEventLoopPoolSize(LOOPS));
        HttpClientOptions options = new HttpClientOptions()
                .setKeepAlive(!Settings.closes())
                .setMaxPoolSize(Settings.LIMIT > 0 ? Settings.LIMIT : 500);
        client = vertx.createHttpClient(options);
        vertx.deployVerticle(VertxServer::new, new DeploymentOptions().setInstances(LOOPS));
        if (Settings.JOB_MS > 0) {
            vertx.setPeriodic(Settings.JOB_MS, tick -> get("/leaf/job-" + JOBS.getAndIncrement() + "/0"));
        }
    }

    @Override
    public void start(Promise<Void> started) {
        vertx.createHttpServer()
                .requestHandler(this::handle)
                .listen(Settings.PORT, "127.0.0.1")
                .<Void>mapEmpty()
                .onComplete(started);
    }

    private void handle(HttpServerRequest request) {
        String[] parts = request.path().split("/");
        if (parts.length != 3) {
            request.response().end("mid\n");
            return;
        }
        work(parts[1], parts[2]).onComplete(end -> request.response().end("done\n"));
    }

    private Future<Void> work(String route, String id) {
        return switch (route) {
            case "one" -> leaf(id, 0);
            case "seq" -> leaf(id, 0).compose(a -> leaf(id, 1)).compose(a -> leaf(id, 2));
            case "par" -> Future.all(leaf(id, 0), leaf(id, 1), leaf(id, 2)).mapEmpty();
            case "timer" -> {
                Promise<Void> rang = Promise.promise();
                vertx.setTimer(5, timer -> rang.complete());
                yield rang.future().compose(a -> leaf(id, 0));
            }
            case "pool" -> vertx.<Void>executeBlocking(() -> null, false).compose(a -> leaf(id, 0));
            case "retry" -> get("/fail/" + id + "/0").compose(a -> leaf(id, 1));
            default -> throw new IllegalArgumentException(route);
        };
    }

    private static Future<Void> leaf(String id, int k) {
        return get("/leaf/" + id + "/" + k);
    }

    private static Future<Void> get(String path) {
        RequestOptions options = new RequestOptions().setMethod(HttpMethod.GET).setAbsoluteURI(Settings.NEXT + path);
        return client.request(options)
                .compose(request -> request.send())
                .compose(answer -> answer.body())
                .mapEmpty();
    }
}
