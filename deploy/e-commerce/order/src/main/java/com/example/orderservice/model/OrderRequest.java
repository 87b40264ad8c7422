package com.example.orderservice.model;

import java.util.List;

public record OrderRequest(List<Product> products, double total) {
}
