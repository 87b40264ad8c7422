"""The sample application's product service with an id in the path and settable delay and errors.

PRODUCT_DELAY_MS is a range such as 5-20, PRODUCT_ERROR_RATE a share of requests from 0 to 1.
"""

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
DELAY_MIN_MS, DELAY_MAX_MS = map(float, os.getenv("PRODUCT_DELAY_MS", "5-20").split("-"))
ERROR_RATE = float(os.getenv("PRODUCT_ERROR_RATE", "0.1"))

app = Flask(__name__)


@app.get("/")
def home():
    return "Product Service"


@app.get("/products/<rid>")
def get_products(rid):
    time.sleep(random.uniform(DELAY_MIN_MS, DELAY_MAX_MS) / 1000)
    if random.random() < ERROR_RATE:
        return jsonify({"error": "Database timeout"}), 500
    return jsonify(PRODUCTS)


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=int(os.getenv("PORT", "8080")))
