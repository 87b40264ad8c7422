'use strict';

// A service under test: what its requests do, and beside them, is in the path, so that links are judged by ids.
// CLUSTER=n serves by n processes.

const cluster = require('node:cluster');
const { setTimeout: sleep } = require('node:timers/promises');

const port = process.env.PORT || 8080;
const workers = Number(process.env.CLUSTER) || 0;
const jobMs = Number(process.env.JOB_MS) || 0;

const TIMER_MS = 5;
const POLL_MS = 30;

function serve() {
  const express = require('express');
  const { leaf, fail, own } = require('./client');
  const { shared, limited, batched } = require('./shared');
  const { pooled } = require('./pool');

  const app = express();
  const route = (path, work) => {
    app.get(path, async (req, res) => {
      await work(req.params.id, res);
      if (!res.headersSent) res.json({ id: req.params.id });
    });
  };
  const parallel = (id, from, to) =>
    Promise.all(Array.from({ length: to - from }, (_, n) => leaf(id, from + n)));

  app.get('/', (req, res) => {
    res.send('mid');
  });
  route('/one/:id', (id) => leaf(id, 0));
  route('/seq/:id', async (id) => {
    await leaf(id, 0);
    await leaf(id, 1);
    await leaf(id, 2);
  });
  route('/par/:id', (id) => parallel(id, 0, 3));
  route('/mix/:id', async (id) => {
    await leaf(id, 0);
    await parallel(id, 1, 4);
  });
  route('/timer/:id', async (id) => {
    await sleep(TIMER_MS);
    await leaf(id, 0);
  });
  route('/pool/:id', (id) => pooled(id, 0));
  route('/shared/:id', async (id) => {
    await shared();
    await leaf(id, 0);
  });
  route('/late/:id', async (id) => {
    await shared();
    await leaf(id, 0);
    await sleep(TIMER_MS);
  });
  route('/limit/:id', async (id) => {
    await limited(() => leaf(id, 0));
    await leaf(id, 1);
  });
  route('/batch/:id', async (id) => {
    await batched();
    await leaf(id, 0);
  });
  route('/retry/:id', async (id) => {
    await fail(id, 0);
    await leaf(id, 1);
  });
  route('/stream/:id', async (id, res) => {
    res.write('first\n');
    await leaf(id, 0);
    res.write('second\n');
    await leaf(id, 1);
    res.end('last\n');
  });
  // Whoever waits is told by a timer that is nobody's.
  const polling = [];
  setInterval(() => polling.splice(0).forEach((resolve) => resolve()), POLL_MS);
  route('/poll/:id', async (id) => {
    await new Promise((resolve) => polling.push(resolve));
    await leaf(id, 0);
  });

  if (jobMs > 0) {
    setInterval(() => leaf(own('job'), 0).catch(() => {}), jobMs);
  }
  app.listen(port, (error) => {
    if (error) throw error;
    console.log(`listening at http://localhost:${port}`);
  });
}

if (workers > 0 && cluster.isPrimary) {
  for (let n = 0; n < workers; n += 1) cluster.fork();
} else {
  serve();
}
