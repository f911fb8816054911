/**
 * The page of a development hub: two people side by side, each with a connection of their own, and a form that
 * publishes under chosen permissions. All it knows comes from /dev/config.json.
 */
import { HubConnection } from "/dev/static/hub.js";

const LOG_LENGTH = 100;
const OUTCOME_AFTER_MS = 600;
const REFRESH_BEFORE_S = 3600;

const $ = (selector, root = document) => root.querySelector(selector);
const endpoint = `${location.origin}/v1`;

let config = null;

async function loadConfig() {
  const response = await fetch("/dev/config.json", { cache: "no-store" });
  if (!response.ok) throw new Error((await response.json()).message);
  config = await response.json();
  return config;
}

/** The configuration, loaded anew when its tokens are about to end or the server has restarted. */
async function freshConfig() {
  try {
    return await loadConfig();
  } catch (error) {
    if (config && config.expiresAt * 1000 > Date.now()) return config;
    throw error;
  }
}

/** One person's panel and connection. */
class Panel {
  /** Arrival times by event ID, from performance.now(). */
  arrivals = new Map();
  #latencies = [];
  #count = 0;
  #parts;

  constructor(person) {
    this.person = person;
    this.#parts = this.#build();
    this.connection = new HubConnection(() => this.#address(), config.channels);
    this.connection.addEventListener("state", ({ detail }) => this.#showState(detail));
    this.connection.addEventListener("message", ({ detail }) => this.#receive(detail));
    this.connection.addEventListener("gap", () => this.#showGap());
    this.connection.open();
  }

  /** Correct an entry's latency to the time since `started`, when the page itself published the event. */
  settle(id, started) {
    const arrival = this.arrivals.get(id);
    if (!arrival) return null;
    const latency = arrival.at - started;
    this.#latencies[arrival.index] = latency;
    this.#showLatency(arrival.cell, latency);
    return latency;
  }

  #build() {
    const root = $("#person").content.cloneNode(true).firstElementChild;
    const { name, userId, roles } = this.person;
    const title = $("h2", root);
    title.textContent = name;
    title.id = `person-${userId}`;
    root.setAttribute("aria-labelledby", title.id);
    root.dataset.user = userId;
    $(".avatar", root).textContent = name[0];
    for (const role of roles) {
      const item = document.createElement("li");
      item.textContent = role;
      $(".roles", root).append(item);
    }
    const field = $(".channels textarea", root);
    field.id = `channels-${userId}`;
    field.value = config.channels.join(", ");
    const subscribe = () => {
      const names = field.value.split(/[\s,]+/).filter(Boolean);
      this.connection.subscribe([...new Set(names)]);
    };
    field.addEventListener("change", subscribe);
    // It is one list, on as many lines as it takes: Enter takes it, as in a field of one line.
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      subscribe();
    });
    $(".channels label", root).htmlFor = field.id;
    $(".toggle", root).addEventListener("click", () => {
      if (["closed", "refused"].includes(this.connection.state)) this.connection.open();
      else this.connection.close();
    });
    $(".toggle", root).setAttribute("aria-describedby", title.id);
    $(".clear", root).addEventListener("click", () => $(".log", root).replaceChildren());
    $(".log", root).setAttribute("aria-label", `Events that ${name} received`);
    $("#people").append(root);
    return {
      state: $(".state", root),
      toggle: $(".toggle", root),
      log: $(".log", root),
      number: (key) => $(`[data-number="${key}"]`, root),
    };
  }

  async #address() {
    const { project, people } = await freshConfig();
    const { jwt } = people.find(({ userId }) => userId === this.person.userId);
    const address = new URL(`${endpoint.replace(/^http/, "ws")}/realtime`);
    address.search = new URLSearchParams({ project, jwt });
    return address.href;
  }

  #showState({ state, text }) {
    this.#parts.state.dataset.state = state;
    this.#parts.state.textContent = text;
    this.#parts.toggle.textContent = ["closed", "refused"].includes(state) ? "Connect" : "Disconnect";
  }

  #receive(data) {
    const at = performance.now();
    const sent = Date.parse(data.timestamp);
    const entry = $("#entry").content.cloneNode(true).firstElementChild;
    const cell = $(".latency", entry);
    $(".name", entry).textContent = data.events[0];
    $(".payload", entry).textContent = JSON.stringify(data.payload);
    $(".on", entry).textContent = `on ${this.connection.channelsOf(data).join(", ")}`;
    const time = $("time", entry);
    time.dateTime = data.timestamp;
    time.textContent = new Date(sent).toLocaleTimeString();

    this.#parts.number("count").textContent = String(++this.#count);
    if (sent < this.connection.connectedAt - 1000) {
      cell.textContent = "missed, sent again";
    } else {
      const index = this.#latencies.push(0) - 1;
      this.arrivals.set(data.id, { at, index, cell });
      this.#latencies[index] = Math.max(0, Date.now() - sent);
      this.#showLatency(cell, this.#latencies[index]);
    }
    this.#log(entry);
    this.#forget();
  }

  #showGap() {
    const entry = document.createElement("li");
    entry.className = "gap";
    entry.textContent = "Events may be missing here.";
    this.#log(entry);
  }

  #log(entry) {
    this.#parts.log.prepend(entry);
    while (this.#parts.log.children.length > LOG_LENGTH) this.#parts.log.lastElementChild.remove();
  }

  #showLatency(cell, latency) {
    cell.textContent = milliseconds(latency);
    this.#parts.number("last").textContent = milliseconds(this.#latencies.at(-1));
    const sorted = this.#latencies.toSorted((a, b) => a - b);
    this.#parts.number("median").textContent = milliseconds(sorted[Math.floor((sorted.length - 1) / 2)]);
  }

  /** Keep memory bounded on a page that stays open for days. */
  #forget() {
    if (this.#latencies.length < 2 * LOG_LENGTH) return;
    this.#latencies.splice(0, LOG_LENGTH);
    for (const [id, arrival] of this.arrivals) {
      arrival.index -= LOG_LENGTH;
      if (arrival.index < 0) this.arrivals.delete(id);
    }
  }
}

function milliseconds(value) {
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

/** Publish what the form says; return the event's answer and when the request began. */
async function publish(name, role, payload) {
  const started = performance.now();
  const response = await fetch(`${endpoint}/events`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "Idempotency-Key": crypto.randomUUID(),
      "X-Appwrite-Key": config.key,
      "X-Appwrite-Project": config.project,
    },
    body: JSON.stringify({ event: name, payload, permissions: [`read("${role}")`] }),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(body.message);
  return { event: body.events[0], started };
}

/** Tell whether a person holds one of an event's roles; everybody counts as `any`. */
function mayRead({ roles }, event) {
  return event.roles.some((role) => role === "any" || roles.includes(role));
}

/** Say of one person whether the event reached them, and if not, why. */
function outcomeOf(panel, event, started) {
  const { name } = panel.person;
  const latency = panel.settle(event.id, started);
  if (latency !== null) return ["good", `${name} received it in ${milliseconds(latency)}`];
  if (panel.connection.state !== "connected") return ["wait", `${name} is not connected`];
  if (!mayRead(panel.person, event)) return ["", `${name} may not read it`];
  return ["wait", `${name} is not subscribed to any of its channels`];
}

function showOutcome(lines) {
  $("#outcome").replaceChildren(
    ...lines.map(([kind, text]) => {
      const line = document.createElement("span");
      line.className = kind;
      line.textContent = text;
      return line;
    }),
  );
}

function complainOfPayload(text) {
  $("#payload-error").textContent = text;
  $("#payload").setAttribute("aria-invalid", String(text !== ""));
}

async function submit(form, panels) {
  const { name, role, payload } = Object.fromEntries(new FormData(form));
  // What became of the last event says nothing of this one.
  showOutcome([]);
  let parsed;
  try {
    parsed = JSON.parse(payload);
    if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed)) throw new Error("not an object");
    complainOfPayload("");
  } catch (error) {
    complainOfPayload(`The payload must be a JSON object: ${error.message}`);
    $("#payload").focus();
    return;
  }
  try {
    const { event, started } = await publish(name.trim(), role, parsed);
    const deadline = performance.now() + OUTCOME_AFTER_MS;
    const isSettled = () => panels.every(({ arrivals, person, connection }) =>
      arrivals.has(event.id) || connection.state !== "connected" || !mayRead(person, event));
    while (!isSettled() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
    showOutcome(panels.map((panel) => outcomeOf(panel, event, started)));
  } catch (error) {
    showOutcome([["bad", error.message]]);
  }
}

/** Renew both tokens on the open connections before they end. */
function keepAuthenticated(panels) {
  setInterval(async () => {
    if (config.expiresAt - Date.now() / 1000 > REFRESH_BEFORE_S) return;
    const { people } = await freshConfig();
    for (const panel of panels) {
      panel.connection.authenticate(people.find(({ userId }) => userId === panel.person.userId).jwt);
    }
  }, 60_000);
}

async function start() {
  $("#endpoint").textContent = endpoint;
  try {
    await loadConfig();
  } catch (error) {
    const problem = $("#problem");
    problem.textContent = error.message;
    problem.hidden = false;
    return;
  }
  $("#project").textContent = config.project;
  const panels = config.people.map((person) => new Panel(person));
  $("#form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit(event.target, panels);
  });
  keepAuthenticated(panels);
}

start();
