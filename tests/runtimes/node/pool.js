'use strict';

// Calls made by another thread: its event loop is one of its own, and a message is all that it gets.

const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const { leaf } = require('./client');

const waiting = new Map();
let asked = 0;
let worker = null;

function start() {
  worker = new Worker(__filename);
  worker.on('message', ({ n, error }) => {
    const { resolve, reject } = waiting.get(n);
    waiting.delete(n);
    if (error) reject(new Error(error));
    else resolve();
  });
}

/** Has the worker call the next service. */
function pooled(id, k) {
  if (!worker) start();
  asked += 1;
  const n = asked;
  return new Promise((resolve, reject) => {
    waiting.set(n, { resolve, reject });
    worker.postMessage({ n, id, k });
  });
}

if (!isMainThread) {
  parentPort.on('message', async ({ n, id, k }) => {
    try {
      await leaf(id, k);
      parentPort.postMessage({ n });
    } catch (error) {
      parentPort.postMessage({ n, error: String(error) });
    }
  });
}

module.exports = { pooled };
