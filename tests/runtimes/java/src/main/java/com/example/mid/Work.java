package com.example.mid;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** What each route does, on whatever server: the thread that handles the request does it, and waits. */
final class Work {

    /** Something that may fail as input and output do. */
    interface Step {
        void run() throws IOException, InterruptedException;
    }

    /** Writes one piece of an answer and sends it off. */
    interface Output {
        void write(String piece) throws IOException;
    }

    static final Client CLIENT =
            List.of("webclient", "vertx").contains(Settings.CLIENT) ? null : Clients.chosen();
    private static final ExecutorService OWN = newExecutor();
    private static final ScheduledExecutorService CLOCK = Executors.newScheduledThreadPool(2);
    private static final AtomicInteger LOOKUPS = new AtomicInteger();
    private static volatile Executor executor = Settings.POOL.equals("common") ? ForkJoinPool.commonPool() : OWN;
    private static CompletableFuture<Void> lookup;

    private Work() {
    }

    /** The executor that the application hands work to. */
    static Executor executor() {
        return executor;
    }

    /** With POOL=server the application hands its work to the threads that serve. */
    static void use(Executor servers) {
        if (Settings.POOL.equals("server")) {
            executor = servers;
        }
    }

    /** JDK 21's executors of virtual threads are not in the API that this is compiled for. */
    static ExecutorService newExecutor() {
        if (!Settings.THREADS.equals("virtual")) {
            return Executors.newCachedThreadPool();
        }
        try {
            return (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
        } catch (ReflectiveOperationException old) {
            throw new IllegalStateException("virtual threads need JDK 21", old);
        }
    }

    /** Does what `route` asks for `id`, and says whether there is such a route. */
    static boolean perform(String route, String id, Output output) throws IOException, InterruptedException {
        switch (route) {
            case "one" -> leaf(id, 0);
            case "seq" -> {
                for (int k = 0; k < 3; k++) {
                    leaf(id, k);
                }
            }
            case "par" -> parallel(id, 0);
            case "mix" -> {
                leaf(id, 0);
                parallel(id, 1);
            }
            case "timer" -> {
                Thread.sleep(5);
                leaf(id, 0);
            }
            case "pool" -> CompletableFuture.runAsync(() -> unchecked(() -> leaf(id, 0)), executor).join();
            case "shared" -> {
                lookup().join();
                leaf(id, 0);
            }
            case "late" -> {
                lookup().join();
                leaf(id, 0);
                Thread.sleep(5);
            }
            case "retry" -> {
                CLIENT.get("/fail/" + id + "/0");
                leaf(id, 1);
            }
            case "stream" -> {
                output.write("first ");
                leaf(id, 0);
                output.write("second ");
                leaf(id, 1);
            }
            case "poll" -> {
                event().await();
                leaf(id, 0);
            }
            default -> {
                return false;
            }
        }
        output.write("done\n");
        return true;
    }

    private static void leaf(String id, int k) throws IOException {
        CLIENT.get("/leaf/" + id + "/" + k);
    }

    private static void parallel(String id, int first) {
        List<CompletableFuture<Void>> calls = new ArrayList<>();
        for (int k = first; k < first + 3; k++) {
            calls.add(CLIENT.send("/leaf/" + id + "/" + k, executor));
        }
        calls.forEach(CompletableFuture::join);
    }

    /** The lookup that is under way, begun by whoever comes first. */
    private static synchronized CompletableFuture<Void> lookup() {
        if (lookup == null || lookup.isDone()) {
            String path = "/leaf/shared-" + LOOKUPS.incrementAndGet() + "/0";
            lookup = CompletableFuture.runAsync(() -> unchecked(() -> CLIENT.get(path)), executor);
        }
        return lookup;
    }

    /** An event that another thread fires within 30 ms. */
    private static CountDownLatch event() {
        CountDownLatch event = new CountDownLatch(1);
        CLOCK.schedule(event::countDown, 20, TimeUnit.MILLISECONDS);
        return event;
    }

    /** The loop that calls on its own, on the application's executor. */
    static void startJob() {
        AtomicInteger n = new AtomicInteger();
        Runnable call = () -> {
            try {
                CLIENT.get("/leaf/job-" + n.getAndIncrement() + "/0");
            } catch (IOException away) {
                // The next service is not there yet, or no more.
            }
        };
        if (Settings.JOB_MS > 0) {
            CLOCK.scheduleAtFixedRate(() -> executor.execute(call), 0, Settings.JOB_MS, TimeUnit.MILLISECONDS);
        }
    }

    static void unchecked(Step step) {
        try {
            step.run();
        } catch (IOException | InterruptedException cause) {
            throw new IllegalStateException(cause);
        }
    }
}
