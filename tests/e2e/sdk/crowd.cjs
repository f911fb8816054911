// Opens many clients of one unmodified SDK in one process, subscribes each of them, and reports what they see on
// standard output, one JSON array a line, in the order in which it happens.
//
//   node crowd.cjs PACKAGE < clients.json
//
// Standard input is a JSON array, one element a client:
//   {endpoint, project, style, jwt, session, subscriptions: [[channel, ...], ...]}
// style "client" subscribes through client.subscribe, "service" through new Realtime(client).
//
// Reports; CLIENT and SUBSCRIPTION are indexes into the input, SOCKET counts the sockets of all clients:
//   ["event", CLIENT, SUBSCRIPTION, SOCKET, payload.n, id]   what the SDK handed to a callback
//   ["subscribed", CLIENT, SOCKET]                           the server has confirmed the subscriptions
//   ["closed", CLIENT]
//   ["told", CLIENT, frame]                                  an error, or a message about the stream itself
"use strict";

const WebSocket = require("ws");

const report = (...message) => process.stdout.write(JSON.stringify(message) + "\n");
for (const level of ["log", "info", "debug"]) console[level] = console.error;

// Where each client keeps its present socket.
const holders = [];
let sockets = 0;

class ReportedWebSocket extends WebSocket {
  constructor(url, protocols, options) {
    super(url, protocols, options);
    this.number = ++sockets;
    const owner = () => holders.findIndex((holder) => holder.socket === this);
    this.on("message", (data) => {
      if (data.subarray(0, 40).includes('"event"')) return;
      const frame = JSON.parse(data);
      if (frame.type === "response" && frame.data.to === "subscribe") report("subscribed", owner(), this.number);
      else if (frame.type === "error" || frame.type === "system") report("told", owner(), frame);
    });
    this.on("close", () => report("closed", owner()));
    // Without a listener ws raises the error of a refused connection; the SDK hears of it by its own listeners.
    this.on("error", () => {});
  }
}

globalThis.WebSocket = ReportedWebSocket;
globalThis.localStorage = { getItem: () => null, setItem: () => {}, removeItem: () => {} };
globalThis.window = globalThis;

const sdk = require(process.argv[2]);

function open({ endpoint, project, style, jwt, session, subscriptions }, index) {
  const client = new sdk.Client().setEndpoint(endpoint).setProject(project);
  if (jwt) client.setJWT(jwt);
  if (session) client.setSession(session);
  const subscriber = style === "service" ? new sdk.Realtime(client) : client;
  const holder = style === "service" ? subscriber : client.realtime;
  holders[index] = holder;
  subscriptions.forEach((channels, subscription) => {
    subscriber.subscribe(channels, (event) => {
      report("event", index, subscription, holder.socket.number, event.payload.n, event.id);
    });
  });
}

let input = "";
process.stdin.on("data", (data) => (input += data)).on("end", () => JSON.parse(input).forEach(open));
