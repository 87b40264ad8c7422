package com.example.orderservice.service;

import com.example.orderservice.model.Order;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.springframework.stereotype.Service;

/** Keeps the orders of this run in memory. */
@Service
public class OrderService {

    private final Queue<Order> orders = new ConcurrentLinkedQueue<>();

    public Order saveOrder(Order order) {
        orders.add(order);
        return order;
    }

    public List<Order> getAllOrders() {
        return List.copyOf(orders);
    }
}
