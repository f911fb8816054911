// Calls the code of a function in JavaScript, in the handler form of Open Runtimes:
// `export default async ({ req, res, log, error }) => …`, or `module.exports = …`.
//
// Run as `node node_runtime.mjs DESCRIPTOR ROOT ENTRYPOINT`: of a stream socket, the folder of the code, and the path of
// the file in it. A call comes over the socket as the lengths of a JSON text and of a body, four bytes each, and both; the
// answer goes back in the same form. What the code logs goes to standard output, and its errors to standard error. Ends
// with the socket.

import { spawnSync } from 'node:child_process';
import { readdirSync, realpathSync, statSync } from 'node:fs';
import { Socket } from 'node:net';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { format, inspect } from 'node:util';

const NATIVE = 'Native logs detected. Use context.log() or context.error() for better experience.\n';
const MOST_CHECKED = 20;
const CHECK_TIMEOUT_MS = 5000;
const BINARY_TYPES = ['application/', 'audio/', 'font/', 'image/', 'video/'];

// A line of a stack that the code has no part in.
const SERVER_LINE = /\bnode:internal\/|\/node_runtime\.mjs:\d/;

/** The code is not of the form that can be called; the text says what is wrong. */
class HandlerError extends Error {}

/** Standard output or error, that the code writes to in two ways: by its context, or by the console. */
class Output {
  constructor(stream) {
    this.stream = stream;
    this.isNoted = false;
  }

  log = (...messages) => {
    this.stream.write(messages.map(shown).join(' ') + '\n');
  };

  native = (...messages) => {
    if (!this.isNoted) {
      this.isNoted = true;
      this.stream.write(NATIVE);
    }
    this.stream.write(format(...messages) + '\n');
  };
}

function shown(message) {
  if (message instanceof Error) return message.stack ?? String(message);
  if (typeof message !== 'object' || message === null) return String(message);
  try {
    return JSON.stringify(message);
  } catch {
    return inspect(message);
  }
}

function makeRequest({ method, path: target, headers }, body) {
  const [, pathname, queryString = ''] = /^([^?]*)(?:\?(.*))?$/s.exec(target);
  const scheme = headers['x-forwarded-proto'] ?? 'http';
  const defaultPort = scheme === 'https' ? 443 : 80;
  const [host, givenPort] = (headers.host ?? 'localhost').split(':');
  const port = /^\d+$/.test(givenPort ?? '') ? Number(givenPort) : defaultPort;
  return {
    method,
    headers,
    scheme,
    host,
    port,
    path: pathname,
    queryString,
    query: Object.fromEntries(new URLSearchParams(queryString)),
    url: `${scheme}://${host}${port === defaultPort ? '' : `:${port}`}${target}`,
    bodyBinary: body,
    get bodyText() {
      return body.toString('utf8');
    },
    get bodyRaw() {
      return this.bodyText;
    },
    get bodyJson() {
      return JSON.parse(this.bodyText);
    },
    get body() {
      const kind = (headers['content-type'] ?? 'text/plain').toLowerCase();
      if (kind.startsWith('application/json')) return body.length ? this.bodyJson : {};
      return BINARY_TYPES.some((prefix) => kind.startsWith(prefix)) ? body : this.bodyText;
    },
  };
}

const res = {
  binary: (data, status = 200, headers = {}) => ({ body: Buffer.from(data), status, headers }),
  send: (body, status = 200, headers = {}) =>
    res.binary(typeof body === 'object' && body !== null ? body : String(body), status, headers),
  text: (body, status = 200, headers = {}) => res.send(body, status, headers),
  json: (value, status = 200, headers = {}) =>
    res.send(JSON.stringify(value), status, { 'content-type': 'application/json', ...headers }),
  empty: () => res.send('', 204),
  redirect: (url, status = 301, headers = {}) => res.send('', status, { ...headers, location: url }),
};

/** Loads the code; returns what is to be called. */
async function load(root, entrypoint) {
  const folder = realpathSync(root);
  let file;
  try {
    file = realpathSync(path.join(folder, entrypoint));
  } catch {
    file = '';
  }
  if (!file.startsWith(folder + path.sep) || !statSync(file).isFile()) {
    throw new HandlerError(`The deployment has no file '${entrypoint}', which is its entrypoint.`);
  }
  const module = await import(pathToFileURL(file).href).catch((error) => {
    throw located(error, folder, file);
  });
  for (const found of [module.default, module.default?.default, module.main, module.default?.main]) {
    if (typeof found === 'function') return found;
  }
  throw new HandlerError(`The file '${entrypoint}' exports no function by default.`);
}

/**
 * Returns an error of loading with its place. Of a syntax error in a module of ECMAScript, Node.js tells the place only when
 * a program ends by it: so another one is asked about the entrypoint, and then about what is beside it.
 */
function located(error, folder, entrypoint) {
  if (!(error instanceof SyntaxError) || !error.stack?.startsWith('SyntaxError')) return error;
  const others = readdirSync(folder, { recursive: true })
    .filter((name) => /\.m?js$/.test(name) && !name.split(path.sep).includes('node_modules'))
    .map((name) => path.join(folder, name))
    .filter((file) => file !== entrypoint);
  for (const file of [entrypoint, ...others].slice(0, MOST_CHECKED)) {
    const found = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: CHECK_TIMEOUT_MS });
    // Other files may be wrong in other ways, and never loaded.
    if (found.stderr?.includes(`SyntaxError: ${error.message}\n`)) return new HandlerError(withoutServer(found.stderr));
  }
  return error;
}

/** Returns a stack, or what was written of one, without the lines of this file and of Node.js itself. */
function withoutServer(stack) {
  const lines = stack.split('\n').filter((line) => !/^ +at /.test(line) || !SERVER_LINE.test(line));
  return lines.join('\n').replace(/\n+Node\.js v[\d.]+\s*$/, '').trimEnd();
}

class Runtime {
  constructor(root, entrypoint) {
    this.root = root;
    this.entrypoint = entrypoint;
    this.handler = null;
    this.logs = new Output(process.stdout);
    this.errors = new Output(process.stderr);
    for (const name of ['log', 'info', 'debug']) console[name] = this.logs.native;
    for (const name of ['warn', 'error', 'trace']) console[name] = this.errors.native;
  }

  /** Returns the answer to a call, and its body. */
  async answer(head, body) {
    this.logs.isNoted = this.errors.isNoted = false;
    try {
      this.handler ??= await load(this.root, this.entrypoint);
      const context = { req: makeRequest(head, body), res, log: this.logs.log, error: this.errors.log };
      const result = await this.handler(context);
      if (!Buffer.isBuffer(result?.body) || !result.headers) {
        throw new HandlerError('Return statement missing. return context.res.empty() if no response is expected.');
      }
      const headers = {};
      for (const [name, value] of Object.entries(result.headers)) headers[name.toLowerCase()] = String(value);
      return [{ status: Number(result.status), headers }, result.body];
    } catch (error) {
      const text = error instanceof HandlerError ? error.message : shown(error);
      this.errors.log(error instanceof Error ? withoutServer(text) : text);
      return [{ failed: true }, Buffer.alloc(0)];
    }
  }
}

/** Answers calls, one after the other, until there are no more. */
async function serve(socket, runtime) {
  let pending = [];
  let size = 0;
  for await (const chunk of socket) {
    pending.push(chunk);
    size += chunk.length;
    if (size < 8) continue;
    if (pending[0].length < 8) pending = [Buffer.concat(pending)];
    const headBytes = pending[0].readUInt32BE(0);
    const callBytes = 8 + headBytes + pending[0].readUInt32BE(4);
    if (size < callBytes) continue;
    const call = Buffer.concat(pending);
    pending = [];
    size = 0;
    const head = JSON.parse(call.subarray(8, 8 + headBytes).toString('utf8'));
    const [answer, body] = await runtime.answer(head, call.subarray(8 + headBytes, callBytes));
    const text = Buffer.from(JSON.stringify(answer));
    const lengths = Buffer.alloc(8);
    lengths.writeUInt32BE(text.length, 0);
    lengths.writeUInt32BE(body.length, 4);
    socket.write(Buffer.concat([lengths, text, body]));
  }
}

const [descriptor, root, entrypoint] = process.argv.slice(2);
await serve(new Socket({ fd: Number(descriptor), readable: true, writable: true }), new Runtime(root, entrypoint));
process.exit(0);
