// A bare Node pipe: what a proxy costs that does nothing. Arguments: upstream's URL, its authority's file.
"use strict";
const http = require("node:http");
const fs = require("node:fs");
const https = require("node:https");
const upstream = new URL(process.argv[2]);
const secure = upstream.protocol === "https:";
const ca = process.argv[3] ? fs.readFileSync(process.argv[3]) : undefined;
const library = secure ? https : http;
const agent = new library.Agent({ keepAlive: true, maxSockets: 1024, ca });
const place = { host: upstream.hostname, port: upstream.port, family: 4, agent };
const server = http.createServer((request, response) => {
  const onward = library.request(
    { ...place, method: request.method, path: request.url, headers: request.headers },
    (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    },
  );
  onward.on("error", () => response.destroy());
  request.pipe(onward);
});
server.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
