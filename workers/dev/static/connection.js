/** The connection of the page: opened anew for whoever is logged in, and what it keeps up to date. */
import { Realtime } from "/dev/static/appwrite.js";

// The SDK does not say when the server has taken a subscription, so what came before that is fetched after it.
const SECOND_LOOK_MS = 1000;

export class Connection {
  #client;
  #parts;
  #listeners;
  #realtime = null;
  #load = () => {};

  /**
   * Parts have a `channel`, and methods: forget(person), load(isCurrent), which fetches what is there unless somebody else
   * is logged in by then, and receive(event). Listeners: state(name) of the connection, and
   * loaded(error) of all parts, without an error if all of them did.
   */
  constructor(client, parts, listeners) {
    this.#client = client;
    this.#parts = parts;
    this.#listeners = listeners;
  }

  /** Load once more what the parts show. */
  reload() {
    this.#load();
  }

  /** Watch and load as `person`, or as a visitor; `presence` tells the others of a person. */
  async open(person, presence) {
    await this.#realtime?.disconnect();
    const realtime = (this.#realtime = new Realtime(this.#client));
    const isCurrent = () => realtime === this.#realtime;
    const load = (this.#load = async () => {
      if (!isCurrent()) return;
      const results = await Promise.allSettled(this.#parts.map((part) => part.load(isCurrent)));
      if (isCurrent()) this.#listeners.loaded(results.find(({ reason }) => reason)?.reason);
    });
    for (const part of this.#parts) part.forget(person);
    this.#listeners.state("connecting");
    realtime.onOpen(() => {
      if (!isCurrent()) return;
      this.#listeners.state("connected");
      load();
      setTimeout(load, SECOND_LOOK_MS);
    });
    realtime.onClose(() => {
      if (isCurrent()) this.#listeners.state("waiting");
    });
    if (presence) await realtime.upsertPresence(presence);
    for (const part of this.#parts) {
      await realtime.subscribe(part.channel, (event) => {
        if (isCurrent()) part.receive(event);
      });
    }
  }
}
