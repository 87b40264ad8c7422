// Answers everything; asks NEXT for the same path, if it is set. Its tracer is loaded by NODE_OPTIONS, or with TRACER=code
// by itself, which nobody can see from outside.
if (process.env.TRACER === "code") require("@opentelemetry/auto-instrumentations-node/register");

const http = require("node:http");

const { PORT, NEXT } = process.env;

function ask(path) {
  return new Promise((resolve, reject) => {
    http.get(NEXT + path, (response) => response.resume().on("end", resolve)).on("error", reject);
  });
}

http
  .createServer(async (request, response) => {
    try {
      if (NEXT && request.url !== "/") await ask(request.url);
      response.end("ok");
    } catch (error) {
      response.statusCode = 502;
      response.end(String(error));
    }
  })
  .listen(Number(PORT), "127.0.0.1");
