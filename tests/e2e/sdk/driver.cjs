// Drives one unmodified client SDK in Node by commands on standard input, one JSON object a line, and reports
// what happens on standard output in the same form.
//
//   node driver.cjs PACKAGE
//
// Commands:
//   {do: "client", name, endpoint, project, style, jwt?}  make a client; style "client" subscribes through
//                                                         client.subscribe, "service" through new Realtime(client)
//   {do: "subscribe", client, name, channels, queries}    a channel is a name, or steps for the Channel builder:
//                                                         [["tablesdb", "main"], ["table", "posts"], ["row"]];
//                                                         a query is a call of Query: ["equal", "status", ["open"]]
//   {do: "unsubscribe", name}
//   {do: "session", client, value}                        client.setSession(value)
//   {do: "cookie", value}                                 what a browser without third-party cookies keeps
//   {do: "send", message}                                 send a frame on the newest socket, past the SDK
//
// Reports:
//   {type: "done", do} | {type: "failed", do, message}
//   {type: "socket", id, url} {type: "close", id, code} {type: "frame", id, frame}    every frame but events
//   {type: "event", name, event}                          what the SDK handed to the callback
"use strict";

const readline = require("node:readline");
const WebSocket = require("ws");

const packageName = process.argv[2];
const report = (message) => process.stdout.write(JSON.stringify(message) + "\n");

// The SDKs talk on the console; standard output is for reports.
for (const level of ["log", "info", "debug"]) console[level] = console.error;

// The globals of a browser, as far as the SDKs look for them.

let sockets = 0;
let newest = null;

class ReportedWebSocket extends WebSocket {
  constructor(url, protocols, options) {
    super(url, protocols, options);
    const id = ++sockets;
    newest = this;
    report({ type: "socket", id, url: String(url) });
    this.on("message", (data) => {
      const frame = JSON.parse(data);
      if (frame.type !== "event") report({ type: "frame", id, frame });
    });
    this.on("close", (code) => report({ type: "close", id, code }));
    // Without a listener ws raises the error of a refused connection; the SDKs hear of it by their own listeners.
    this.on("error", (error) => console.error(`socket ${id}: ${error.message}`));
  }
}

const stored = new Map();
globalThis.WebSocket = ReportedWebSocket;
globalThis.localStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => stored.set(key, String(value)),
  removeItem: (key) => stored.delete(key),
};
globalThis.window = globalThis;

// The SDKs ping every 20 s, which is too long to wait for; time runs faster here for that one timer.
const setRealInterval = globalThis.setInterval;
globalThis.setInterval = (call, ms, ...rest) => setRealInterval(call, ms === 20000 ? 1000 : ms, ...rest);

// A browser reports what fails in a timer, and goes on: the SDKs ping sockets that are still connecting, which fails.
process.on("uncaughtException", (error) => console.error(error));

const sdk = require(packageName);
const clients = new Map();
const subscriptions = new Map();

const toChannel = (channel) =>
  Array.isArray(channel)
    ? channel.reduce((built, [method, ...ids]) => built[method](...ids), sdk.Channel)
    : channel;
const toQuery = ([method, ...values]) => sdk.Query[method](...values);

const commands = {
  client({ name, endpoint, project, style, jwt }) {
    const client = new sdk.Client().setEndpoint(endpoint).setProject(project);
    // React Native's SDK names its app in the Origin header.
    if (client.setPlatform) client.setPlatform("com.example.app");
    if (jwt) client.setJWT(jwt);
    clients.set(name, { client, subscriber: style === "service" ? new sdk.Realtime(client) : client });
  },
  async subscribe({ client, name, channels, queries }) {
    const extra = queries.length > 0 ? [queries.map(toQuery)] : [];
    const callback = (event) => report({ type: "event", name, event });
    const { subscriber } = clients.get(client);
    subscriptions.set(name, await subscriber.subscribe(channels.map(toChannel), callback, ...extra));
  },
  async unsubscribe({ name }) {
    const subscription = subscriptions.get(name);
    if (typeof subscription === "function") subscription();
    else if (subscription.unsubscribe) await subscription.unsubscribe();
    else await subscription.close();
  },
  session({ client, value }) {
    clients.get(client).client.setSession(value);
  },
  cookie({ value }) {
    localStorage.setItem("cookieFallback", value);
  },
  send({ message }) {
    newest.send(JSON.stringify(message));
  },
};

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const command = JSON.parse(line);
  try {
    await commands[command.do](command);
    report({ type: "done", do: command.do });
  } catch (error) {
    report({ type: "failed", do: command.do, message: String(error?.stack ?? error) });
  }
}).on("close", () => process.exit(0));
