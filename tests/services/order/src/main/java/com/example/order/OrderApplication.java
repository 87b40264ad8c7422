package com.example.order;

import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

/**
 * The sample application's order service with an id in the path and a settable delay
 * (ORDER_DELAY_MS, a range such as 5-20).
 */
@RestController
@SpringBootApplication
public class OrderApplication {

    public record Product(long id, String name, double price) {
    }

    public record OrderRequest(List<Product> products, double total) {
    }

    public record Order(String id, List<Product> products, double total, String status) {
    }

    private final long minDelayMillis;
    private final long maxDelayMillis;

    public OrderApplication(@Value("${ORDER_DELAY_MS:5-20}") String range) {
        String[] bounds = range.split("-");
        minDelayMillis = Long.parseLong(bounds[0]);
        maxDelayMillis = Long.parseLong(bounds[1]);
    }

    public static void main(String[] args) {
        SpringApplication.run(OrderApplication.class, args);
    }

    @GetMapping("/")
    public String home() {
        return "Order Service";
    }

    @PostMapping("/orders/{rid}")
    public Order createOrder(@PathVariable String rid, @RequestBody OrderRequest request) throws InterruptedException {
        Thread.sleep(ThreadLocalRandom.current().nextLong(minDelayMillis, maxDelayMillis + 1));
        return new Order(rid, request.products(), request.total(), "PAID");
    }
}
