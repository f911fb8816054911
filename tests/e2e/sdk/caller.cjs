// Calls the services of one unmodified SDK in Node, for clients or for servers, by commands on standard input, one JSON
// object a line, and reports what happens on standard output in the same form. One process is one person's browser, or
// one backend.
//
//   node caller.cjs PACKAGE ENDPOINT PROJECT [KEY]
//
// Commands; each is answered with its `number`:
//   {number, call: "account.create", arguments}   call a method of a service with its arguments as one object; what is
//                                                 {path, name, mediaType} among them is that file
//   {number, call: "subscribe", arguments: {channels}}    through Realtime, with one callback for everything
//
// Reports:
//   {number, answer} | {number, refused: {code, type, message}} | {number, failed}
//   {event}                                       what the SDK handed to the callback
//   {confirmed: [channel, ...]}                   the server has confirmed a subscription to these
"use strict";

const fs = require("node:fs");
const readline = require("node:readline");
const WebSocket = require("ws");

const [packageName, endpoint, project, key] = process.argv.slice(2);
const report = (message) => process.stdout.write(JSON.stringify(message) + "\n");

// The SDKs talk on the console; standard output is for reports.
for (const level of ["log", "info", "debug"]) console[level] = console.error;

// The globals of a browser, as far as the SDK for clients looks for them. Its fetch keeps no cookies, like a browser that
// is asked by another site; the SDK then keeps the session in the local storage.
if (!key) {
  const stored = new Map();
  globalThis.localStorage = {
    getItem: (name) => stored.get(name) ?? null,
    setItem: (name, value) => stored.set(name, String(value)),
    removeItem: (name) => stored.delete(name),
  };
  globalThis.window = globalThis;
  globalThis.WebSocket = class extends WebSocket {
    constructor(...parameters) {
      super(...parameters);
      this.on("message", (data) => {
        const frame = JSON.parse(data);
        if (frame.type === "response" && frame.data.to === "subscribe") {
          report({ confirmed: frame.data.subscriptions.flatMap((subscription) => subscription.channels) });
        }
      });
    }
  };
}

const sdk = require(packageName);
const client = new sdk.Client().setEndpoint(endpoint).setProject(project);
if (key) client.setKey(key);

const services = new Map();
const serviceOf = (name) => {
  if (!services.has(name)) services.set(name, new sdk[name[0].toUpperCase() + name.slice(1)](client));
  return services.get(name);
};

const isFile = (value) => typeof value?.path === "string" && typeof value.mediaType === "string";

const fileOf = ({ path, name, mediaType }) =>
  key
    ? require(`${packageName}/file`).InputFile.fromPath(path, name)
    : new File([fs.readFileSync(path)], name, { type: mediaType });

const withFiles = (given) =>
  Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name, isFile(value) ? fileOf(value) : value]),
  );

const subscribe = ({ channels }) =>
  serviceOf("realtime").subscribe(channels, (event) => report({ event }));

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { number, call, arguments: given } = JSON.parse(line);
  const [service, method] = call.split(".");
  try {
    if (call === "subscribe") {
      await subscribe(given);
      report({ number, answer: null });
    } else {
      const answer = await serviceOf(service)[method](withFiles(given));
      report({ number, answer });
    }
  } catch (error) {
    if (error.name === "AppwriteException") {
      report({ number, refused: { code: error.code, type: error.type, message: error.message } });
    } else {
      report({ number, failed: String(error?.stack ?? error) });
    }
  }
}).on("close", () => process.exit(0));
