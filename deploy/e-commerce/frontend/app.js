'use strict';

// What the customer talks to: lists products, and checks out by asking product, then order.

const axios = require('axios');
const express = require('express');

const port = process.env.PORT || 8080;
const productServiceUrl = process.env.PRODUCT_SERVICE_URL || 'http://localhost:8081';
const orderServiceUrl = process.env.ORDER_SERVICE_URL || 'http://localhost:8082';

const app = express();

app.get('/', (req, res) => {
  res.send('Frontend Service');
});

app.get('/products', async (req, res) => {
  try {
    const products = await axios.get(`${productServiceUrl}/products`);
    res.json(products.data);
  } catch {
    res.status(500).json({ error: 'Failed to fetch products' });
  }
});

app.post('/checkout', async (req, res) => {
  try {
    const products = await axios.get(`${productServiceUrl}/products`);
    const order = await axios.post(`${orderServiceUrl}/orders`, {
      products: products.data.slice(0, 3),
      total: 129.99,
    });
    res.json(order.data);
  } catch {
    res.status(500).json({ error: 'Checkout failed' });
  }
});

app.listen(port, (error) => {
  if (error) throw error;
  console.log(`Frontend service listening at http://localhost:${port}`);
});
