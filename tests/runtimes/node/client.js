'use strict';

// The client library that CLIENT names, as one function: a URL in, a promise of the status out, the body read.
// KEEPALIVE and LIMIT are what the library makes of them; unset they are its own defaults.

const cluster = require('node:cluster');
const http = require('node:http');

const library = process.env.CLIENT || 'http';
const keepAlive = process.env.KEEPALIVE;
const limit = Number(process.env.LIMIT) || 0;

const isConfigured = keepAlive !== undefined || limit > 0;

function agent() {
  if (!isConfigured) return undefined;
  const options = { keepAlive: keepAlive !== '0' };
  if (limit > 0) options.maxSockets = limit;
  return new http.Agent(options);
}

function ofHttp() {
  const options = { agent: agent() };
  return (url) =>
    new Promise((resolve, reject) => {
      const request = http.get(url, options, (response) => {
        response.on('end', () => resolve(response.statusCode));
        response.on('error', reject);
        response.resume();
      });
      request.on('error', reject);
    });
}

function ofAxios() {
  const client = require('axios').create({ httpAgent: agent(), validateStatus: () => true });
  return async (url) => (await client.get(url)).status;
}

function ofGot() {
  const options = { agent: { http: agent() }, retry: { limit: 0 }, throwHttpErrors: false };
  const client = import('got').then((module) => module.got.extend(options));
  let ready = null;
  client.then((loaded) => {
    ready = loaded;
  });
  return async (url) => (await (ready || (await client))(url)).statusCode;
}

// undici's own dispatcher: built into Node behind fetch(), and the library of that name.
function dispatcher() {
  if (!isConfigured) return undefined;
  const options = {};
  if (keepAlive === '0') options.pipelining = 0;
  if (limit > 0) options.connections = limit;
  const { Agent } = require('undici');
  return new Agent(options);
}

function ofFetch() {
  const options = { dispatcher: dispatcher() };
  return async (url) => {
    const response = await fetch(url, options);
    await response.text();
    return response.status;
  };
}

function ofUndici() {
  const { request } = require('undici');
  const options = { dispatcher: dispatcher() };
  return async (url) => {
    const { statusCode, body } = await request(url, options);
    await body.text();
    return statusCode;
  };
}

const libraries = { http: ofHttp, axios: ofAxios, got: ofGot, fetch: ofFetch, undici: ofUndici };

if (!libraries[library]) throw new Error(`CLIENT=${library}: ${Object.keys(libraries).join(', ')} are known`);

const get = libraries[library]();
const next = process.env.NEXT || 'http://localhost:8081';

/** Calls the next service for request `id`, the `k`th time. */
const leaf = (id, k) => get(`${next}/leaf/${id}/${k}`);

/** Likewise, to be refused. */
const fail = (id, k) => get(`${next}/fail/${id}/${k}`);

const counts = {};

/** The next id of its kind for a call that no single request makes: `shared-1`, of a cluster's second worker `shared-2x1`. */
function own(kind) {
  counts[kind] = (counts[kind] || 0) + 1;
  return `${kind}-${cluster.isWorker ? `${cluster.worker.id}x` : ''}${counts[kind]}`;
}

module.exports = { leaf, fail, own };
