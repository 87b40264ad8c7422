package com.example.mid;

import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import okhttp3.Call;
import okhttp3.Callback;
import okhttp3.ConnectionPool;
import okhttp3.Dispatcher;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import org.apache.hc.client5.http.impl.classic.HttpClientBuilder;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.client5.http.impl.io.PoolingHttpClientConnectionManagerBuilder;
import org.springframework.http.HttpStatusCode;
import org.springframework.http.client.ClientHttpRequestFactory;
import org.springframework.http.client.HttpComponentsClientHttpRequestFactory;
import org.springframework.http.client.SimpleClientHttpRequestFactory;
import org.springframework.web.client.DefaultResponseErrorHandler;
import org.springframework.web.client.RestTemplate;

/** The client libraries, each with KEEPALIVE and LIMIT as far as it knows them. */
final class Clients {

    private Clients() {
    }

    /** The one that CLIENT names. */
    static Client chosen() {
        return switch (Settings.CLIENT) {
            case "resttemplate" -> restTemplate(simple());
            case "resttemplate-pool" -> restTemplate(apache());
            case "urlconnection" -> {
                simple();
                yield Clients::urlConnection;
            }
            case "jdk" -> new Jdk();
            case "okhttp" -> new Ok();
            default -> throw new IllegalArgumentException("unknown CLIENT " + Settings.CLIENT);
        };
    }

    private static Client restTemplate(ClientHttpRequestFactory factory) {
        RestTemplate template = new RestTemplate(factory);
        template.setErrorHandler(new DefaultResponseErrorHandler() {
            @Override
            protected boolean hasError(HttpStatusCode status) {
                return false;
            }
        });
        return path -> template.getForObject(Settings.NEXT + path, String.class);
    }

    /** HttpURLConnection: its pool is the virtual machine's, and set up by properties before it is first used. */
    private static ClientHttpRequestFactory simple() {
        if (Settings.closes()) {
            System.setProperty("http.keepAlive", "false");
        }
        int kept = Settings.LIMIT > 0 ? Settings.LIMIT : 200;
        System.setProperty("http.maxConnections", Integer.toString(kept));
        return new SimpleClientHttpRequestFactory();
    }

    private static ClientHttpRequestFactory apache() {
        int limit = Settings.LIMIT > 0 ? Settings.LIMIT : 200;
        HttpClientBuilder builder = HttpClients.custom()
                .setConnectionManager(PoolingHttpClientConnectionManagerBuilder.create()
                        .setMaxConnTotal(limit)
                        .setMaxConnPerRoute(limit)
                        .build())
                .disableAutomaticRetries();
        if (Settings.closes()) {
            builder.setConnectionReuseStrategy((request, response, context) -> false);
        }
        return new HttpComponentsClientHttpRequestFactory(builder.build());
    }

    private static void urlConnection(String path) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) URI.create(Settings.NEXT + path).toURL().openConnection();
        int status = connection.getResponseCode();
        InputStream body = status < 400 ? connection.getInputStream() : connection.getErrorStream();
        if (body != null) {
            body.readAllBytes();
            body.close();
        }
    }

    /** java.net.http, with HTTP/1.1: the next service speaks nothing else. */
    private static final class Jdk implements Client {

        private final HttpClient client;

        Jdk() {
            System.setProperty("jdk.httpclient.allowRestrictedHeaders", "connection");
            if (Settings.LIMIT > 0) {
                System.setProperty("jdk.httpclient.connectionPoolSize", Integer.toString(Settings.LIMIT));
            }
            HttpClient.Builder builder = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1);
            if (Settings.POOL.equals("server")) {
                builder.executor(task -> Work.executor().execute(task));
            }
            client = builder.build();
        }

        private static HttpRequest request(String path) {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(Settings.NEXT + path));
            if (Settings.closes()) {
                request.header("Connection", "close");
            }
            return request.build();
        }

        @Override
        public void get(String path) throws IOException {
            try {
                client.send(request(path), BodyHandlers.ofString());
            } catch (InterruptedException interrupted) {
                throw new IOException(interrupted);
            }
        }

        @Override
        public CompletableFuture<Void> send(String path, Executor executor) {
            return client.sendAsync(request(path), BodyHandlers.ofString()).thenApply(answer -> null);
        }
    }

    private static final class Ok implements Client {

        private final OkHttpClient client;

        Ok() {
            Dispatcher dispatcher = new Dispatcher();
            int limit = Settings.LIMIT > 0 ? Settings.LIMIT : 200;
            dispatcher.setMaxRequests(limit);
            dispatcher.setMaxRequestsPerHost(limit);
            ConnectionPool pool = Settings.closes()
                    ? new ConnectionPool(0, 1, TimeUnit.MILLISECONDS)
                    : new ConnectionPool(limit, 1, TimeUnit.MINUTES);
            client = new OkHttpClient.Builder()
                    .dispatcher(dispatcher)
                    .connectionPool(pool)
                    .retryOnConnectionFailure(false)
                    .build();
        }

        private Call call(String path) {
            return client.newCall(new Request.Builder().url(Settings.NEXT + path).build());
        }

        @Override
        public void get(String path) throws IOException {
            try (Response response = call(path).execute()) {
                response.body().string();
            }
        }

        @Override
        public CompletableFuture<Void> send(String path, Executor executor) {
            CompletableFuture<Void> done = new CompletableFuture<>();
            call(path).enqueue(new Callback() {
                @Override
                public void onFailure(Call call, IOException cause) {
                    done.completeExceptionally(cause);
                }

                @Override
                public void onResponse(Call call, Response response) throws IOException {
                    try (response) {
                        response.body().string();
                    }
                    done.complete(null);
                }
            });
            return done;
        }
    }
}
