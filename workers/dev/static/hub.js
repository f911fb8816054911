/**
 * One WebSocket connection to the hub, kept open: it subscribes, pings, comes back after a loss, and resumes.
 *
 * Dispatches `state` (detail: {state, text}), `message` (detail: the data of an event frame), and `gap` where events
 * may be missing. The states are `closed` (by choice), `connecting`, `connected`, `waiting` (to reconnect) and
 * `refused` (for good).
 */
const PING_INTERVAL_MS = 20_000;
const POLICY_VIOLATION = 1008;

export class HubConnection extends EventTarget {
  #address;
  #channels;
  #socket = null;
  #attempt = 0;
  #generation = 0;
  #timer = 0;
  #pinger = 0;
  #lastSeen = 0;
  #lastError = "";
  #position = "";

  /** When the present connection was accepted, Unix time in milliseconds; 0 before. */
  connectedAt = 0;
  state = "closed";

  /**
   * @param {() => Promise<string>} address gives the URL for each attempt, with a credential that is valid then
   * @param {string[]} channels what to subscribe to
   */
  constructor(address, channels) {
    super();
    this.#address = address;
    this.#channels = channels;
  }

  open() {
    this.#attempt = 0;
    this.#connect();
  }

  close() {
    this.#drop();
    this.#show("closed", "disconnected");
  }

  /** Replace the subscriptions by one for each of `channels`. */
  subscribe(channels) {
    if (this.state === "connected") {
      this.#send("unsubscribe", this.#channels.map((channel) => ({ subscriptionId: idOf(channel) })));
    }
    this.#channels = channels;
    if (this.state === "connected") this.#subscribe({});
  }

  /** Act under a new token from now on, without a new connection. */
  authenticate(jwt) {
    if (this.state === "connected") this.#send("authentication", { jwt });
  }

  /** Return which of the channels subscribed to carried a message. */
  channelsOf(data) {
    return this.#channels.filter((channel) => data.subscriptions.includes(idOf(channel)));
  }

  async #connect() {
    this.#drop();
    this.#show("connecting", "connecting…");
    const generation = this.#generation; // close() and open() end this attempt by making a new one
    const address = await this.#address().catch(() => null);
    if (this.#generation !== generation) return;
    if (address === null) return this.#retry();
    const socket = new WebSocket(address);
    this.#socket = socket;
    socket.onmessage = (message) => this.#receive(JSON.parse(message.data));
    socket.onclose = (close) => {
      if (this.#socket !== socket) return;
      this.#drop();
      if (close.code === POLICY_VIOLATION) this.#show("refused", this.#lastError || close.reason || "refused");
      else this.#retry();
    };
  }

  #receive(frame) {
    this.#lastSeen = Date.now();
    switch (frame.type) {
      case "connected":
        this.#attempt = 0;
        this.#lastError = "";
        this.connectedAt = Date.now();
        this.#pinger = setInterval(() => this.#ping(), PING_INTERVAL_MS);
        this.#show("connected", "connected");
        this.#subscribe(this.#position ? { since: this.#position } : {});
        this.#position ||= frame.data.position ?? "";
        break;
      case "event":
        this.#position = frame.data.id ?? this.#position;
        this.dispatchEvent(new CustomEvent("message", { detail: frame.data }));
        break;
      case "response":
        if (frame.data.subscriptions?.some(({ recovered }) => recovered === false)) this.dispatchEvent(new Event("gap"));
        break;
      case "system":
        if (frame.data.code === "gap") this.dispatchEvent(new Event("gap"));
        break;
      case "error":
        this.#lastError = frame.data.message;
        if (this.state === "connected") this.#show("connected", `connected; ${frame.data.message}`);
        break;
    }
  }

  #subscribe(options) {
    if (this.#channels.length === 0) return;
    const items = this.#channels.map((channel) => ({ subscriptionId: idOf(channel), channels: [channel], ...options }));
    this.#send("subscribe", items);
  }

  #ping() {
    // Two pings without an answer: the connection is dead, though the browser may not know for minutes.
    if (Date.now() - this.#lastSeen > 2.5 * PING_INTERVAL_MS) this.#socket?.close();
    else this.#send("ping");
  }

  #send(type, data) {
    this.#socket?.send(JSON.stringify(data === undefined ? { type } : { type, data }));
  }

  #retry() {
    const delay = reconnectDelay(this.#attempt++);
    const at = Date.now() + delay;
    const tick = () => {
      const left = Math.ceil((at - Date.now()) / 1000);
      if (left <= 0) return this.#connect();
      this.#show("waiting", `reconnecting in ${left} s`);
      this.#timer = setTimeout(tick, Math.min(1000, at - Date.now()));
    };
    tick();
  }

  #drop() {
    clearTimeout(this.#timer);
    clearInterval(this.#pinger);
    this.#generation++;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onmessage = null;
      socket.close();
    }
  }

  #show(state, text) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, text } }));
  }
}

/** Milliseconds to wait before attempt number `attempt` (from 0): what the SDKs wait, spread by up to a fifth. */
function reconnectDelay(attempt) {
  const delay = attempt < 5 ? 1_000 : attempt < 15 ? 5_000 : attempt < 100 ? 10_000 : 60_000;
  return delay * (1 + Math.random() / 5);
}

/** A subscription ID that a channel's name determines: a valid ID has at most 36 characters of a small alphabet. */
function idOf(channel) {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,35}$/.test(channel)) return channel;
  let hash = 5381;
  for (const char of channel) hash = (hash * 33 + char.codePointAt(0)) >>> 0;
  return `c${hash.toString(36)}`;
}
