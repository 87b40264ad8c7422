'use strict';

// The sample application's frontend with an id (:rid) in every path, handed on to the services it
// calls: two requests belong together exactly when their ids are equal.

const http = require('node:http');
const { Worker } = require('node:worker_threads');
const { setImmediate: immediate, setTimeout: sleep } = require('node:timers/promises');
const axios = require('axios');
const express = require('express');

const port = process.env.PORT || 8080;
const productServiceUrl = process.env.PRODUCT_SERVICE_URL || 'http://localhost:8081';
const orderServiceUrl = process.env.ORDER_SERVICE_URL || 'http://localhost:8082';

const resetUrl = process.env.RESET_URL || 'http://localhost:8083';

const TIMER_DELAY_MS = 5;
const BACKGROUND_PERIOD_MS = 20;

// KEEPALIVE=1 keeps connections, KEEPALIVE=0 opens one for each request, unset is axios's default.
const keepAlive = process.env.KEEPALIVE;
const client = axios.create(
  keepAlive === undefined ? {} : { httpAgent: new http.Agent({ keepAlive: keepAlive === '1' }) },
);

const getProducts = (rid) => client.get(`${productServiceUrl}/products/${rid}`);

const app = express();

app.get('/', (req, res) => {
  res.send('Frontend Service');
});

app.get('/products/:rid', async (req, res) => {
  await answerWithProducts(req, res);
});

app.post('/checkout/:rid', async (req, res) => {
  const { rid } = req.params;
  try {
    const products = await getProducts(rid);
    const order = await client.post(`${orderServiceUrl}/orders/${rid}`, {
      products: products.data.slice(0, 3),
      total: 129.99,
    });
    res.json(order.data);
  } catch {
    res.status(500).json({ error: 'Checkout failed' });
  }
});

// The call is made from a timer's callback, not from a callback of the request.
app.get('/timer/:rid', async (req, res) => {
  await sleep(TIMER_DELAY_MS);
  await answerWithProducts(req, res);
});

// The call is made from an immediate's callback.
app.get('/immediate/:rid', async (req, res) => {
  await immediate();
  await answerWithProducts(req, res);
});

// The call is made after another one failed: its connection was reset.
app.get('/retry/:rid', async (req, res) => {
  await client.get(`${resetUrl}/reset/${req.params.rid}`).catch(() => {});
  await answerWithProducts(req, res);
});

// The call is made after another thread's message.
app.get('/worker/:rid', async (req, res) => {
  await askWorker();
  await answerWithProducts(req, res);
});

const waiting = new Map();
let asked = 0;
let worker = null;

function askWorker() {
  if (!worker) {
    const echo = "const { parentPort: p } = require('node:worker_threads'); p.on('message', (m) => p.postMessage(m))";
    worker = new Worker(echo, { eval: true });
    worker.on('message', (n) => {
      waiting.get(n)();
      waiting.delete(n);
    });
  }
  asked += 1;
  return new Promise((resolve) => {
    waiting.set(asked, resolve);
    worker.postMessage(asked);
  });
}

// Turns a job on or off that calls product on its own, beside the requests: bg-1, bg-2, …
let background = null;
let backgroundCalls = 0;

app.get('/background', (req, res) => {
  if (background) {
    clearInterval(background);
    background = null;
  } else {
    background = setInterval(() => {
      backgroundCalls += 1;
      getProducts(`bg-${backgroundCalls}`).catch(() => {});
    }, BACKGROUND_PERIOD_MS);
  }
  res.json({ running: background !== null, calls: backgroundCalls });
});

async function answerWithProducts(req, res) {
  try {
    const products = await getProducts(req.params.rid);
    res.json(products.data);
  } catch {
    res.status(500).json({ error: 'Failed to fetch products' });
  }
}

app.listen(port, (error) => {
  if (error) throw error;
  console.log(`Frontend service listening at http://localhost:${port}`);
});
