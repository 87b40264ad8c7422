package com.example.orderservice.model;

import java.util.List;

public record Order(String id, List<Product> products, double total, String status) {

    public Order paid() {
        return new Order(id, products, total, "PAID");
    }
}
