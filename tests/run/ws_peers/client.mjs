// A client by the package ws of Node: node client.mjs URL [RESTARTS]. Echoes messages of many kinds,
// then, for each restart, says "ready", waits for a line and echoes again. Exit status 0: all well.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import assert from "node:assert";

const WebSocket = createRequire(process.env.MILLGATE_NODE_MODULES + "/")("ws");
const [url, restarts = "0"] = process.argv.slice(2);
const socket = new WebSocket(url, ["v2", "v1"], { perMessageDeflate: true });
const waiting = [];

const next = () => new Promise((resolve) => waiting.push(resolve));
socket.on("error", (error) => { throw error; });
socket.on("message", (data, isBinary) => waiting.shift()([data, isBinary]));

async function echo(message, options = {}) {
  const answer = next();
  socket.send(message, options);
  const [data, isBinary] = await answer;
  assert.strictEqual(isBinary, typeof message !== "string");
  assert.ok(Buffer.from(message).equals(data), `${data.length} bytes came back`);
}

async function echoAll() {
  for (const length of [0, 1, 125, 126, 65535, 65536, 1000000]) {
    await echo("ü".repeat(length / 2));
    await echo(Buffer.alloc(length, 0xff));
  }
  const answer = next();
  for (const part of ["frag", "men", "ted"]) socket.send(part, { fin: part === "ted" });
  assert.strictEqual((await answer)[0].toString(), "fragmented");
}

socket.on("open", async () => {
  assert.strictEqual(socket.protocol, "v1");
  assert.strictEqual(socket.extensions, "");
  const pong = new Promise((resolve) => socket.on("pong", resolve));
  socket.ping("payload");
  assert.strictEqual((await pong).toString(), "payload");
  await echoAll();
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  for (let i = 0; i < Number(restarts); i++) {
    console.log("ready");
    await lines.next();
    await echoAll();
  }
  socket.close(4001, "done");
});

socket.on("close", (code) => {
  assert.strictEqual(code, 4001);
  console.log("closed");
  process.exit(0);
});
