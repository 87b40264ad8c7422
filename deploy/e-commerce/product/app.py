"""What is for sale: a slow catalogue that now and then times out."""

import os
import random
import time

from flask import Flask, jsonify

PRODUCTS = [
    {"id": 1, "name": "Laptop", "price": 999.99},
    {"id": 2, "name": "Smartphone", "price": 699.99},
    {"id": 3, "name": "Headphones", "price": 149.99},
    {"id": 4, "name": "Tablet", "price": 299.99},
    {"id": 5, "name": "Smartwatch", "price": 199.99},
]
ERROR_RATE = 0.1

app = Flask(__name__)


@app.get("/")
def home():
    return "Product Service"


@app.get("/products")
def get_products():
    time.sleep(random.uniform(0.05, 0.2))  # the database query
    if random.random() < ERROR_RATE:
        return jsonify({"error": "Database timeout"}), 500
    return jsonify(PRODUCTS)


@app.get("/products/<int:product_id>")
def get_product(product_id):
    time.sleep(random.uniform(0.01, 0.1))  # the database query
    for product in PRODUCTS:
        if product["id"] == product_id:
            return jsonify(product)
    return jsonify({"error": f"Product {product_id} not found"}), 404


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=int(os.getenv("PORT", "8080")))
