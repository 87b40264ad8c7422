package com.example.orderservice.controller;

import com.example.orderservice.model.Order;
import com.example.orderservice.model.OrderRequest;
import com.example.orderservice.service.OrderService;
import java.util.List;
import java.util.UUID;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

@RestController
public class OrderController {

    private final OrderService orderService;

    public OrderController(OrderService orderService) {
        this.orderService = orderService;
    }

    @GetMapping("/")
    public String home() {
        return "Order Service";
    }

    @GetMapping("/orders")
    public List<Order> getAllOrders() {
        return orderService.getAllOrders();
    }

    @PostMapping("/orders")
    public Order createOrder(@RequestBody OrderRequest request) {
        Order order = new Order(UUID.randomUUID().toString(), request.products(), request.total(), "CREATED");
        try {
            sleepUpTo(300); // processing
            return orderService.saveOrder(processPayment(order));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("Order processing failed", e);
        }
    }

    private Order processPayment(Order order) throws InterruptedException {
        sleepUpTo(500);
        return order.paid();
    }

    private static void sleepUpTo(int millis) throws InterruptedException {
        Thread.sleep((long) (Math.random() * millis));
    }
}
