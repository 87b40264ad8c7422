'use strict';

// The least that a service can do: an answer without a framework. What the agent costs shows here most.

const { createServer } = require('node:http');

createServer((req, res) => {
  res.setHeader('Content-Type', 'text/plain');
  res.end('hello\n');
}).listen(process.env.PORT || 8080, '127.0.0.1');
