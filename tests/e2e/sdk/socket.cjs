// Opens one WebSocket with the npm package `ws`, as it is by default, and reports on standard output, one JSON object
// a line: {extensions} when it is open, then {text} for each message.
//
//   node socket.cjs URL
"use strict";

const WebSocket = require("ws");

const report = (message) => process.stdout.write(JSON.stringify(message) + "\n");
const socket = new WebSocket(process.argv[2]);
socket.on("open", () => report({ extensions: socket.extensions }));
socket.on("message", (data) => report({ text: String(data) }));
socket.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
