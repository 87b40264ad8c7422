package com.example.orderservice.model;

public record Product(long id, String name, double price) {
}
