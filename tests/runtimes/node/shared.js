'use strict';

// Ways in which requests wait for each other: what one of them began goes on when another's answer comes.

const { leaf, own } = require('./client');

const SEMAPHORE = 5;
const BATCH = 5;
const BATCH_MS = 10;

const look = () => leaf(own('shared'), 0);

let inFlight = null;

/** One lookup for all who ask while it is under way. */
function shared() {
  inFlight ||= look().finally(() => {
    inFlight = null;
  });
  return inFlight;
}

let running = 0;
const queue = [];

/** Runs `work` when fewer than SEMAPHORE others do (p-limit). */
async function limited(work) {
  if (running >= SEMAPHORE) await new Promise((resolve) => queue.push(resolve));
  running += 1;
  try {
    return await work();
  } finally {
    running -= 1;
    queue.shift()?.();
  }
}

let batch = null;

/** One lookup for BATCH askers, or for those who came within BATCH_MS (a data loader). */
function batched() {
  if (!batch) {
    const begun = { size: 0 };
    begun.result = new Promise((resolve, reject) => {
      begun.start = () => {
        clearTimeout(begun.timer);
        if (batch === begun) batch = null;
        look().then(resolve, reject);
      };
    });
    begun.timer = setTimeout(begun.start, BATCH_MS);
    batch = begun;
  }
  const { result } = batch;
  batch.size += 1;
  if (batch.size >= BATCH) batch.start();
  return result;
}

module.exports = { shared, limited, batched };
