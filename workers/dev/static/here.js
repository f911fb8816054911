/**
 * Who has the board open: presences, which the server ends with the last connection of a person.
 *
 * The server keeps one for each person, however many windows they have. Visitors are not told.
 */
import { Channel, ID, Permission, Presences, Query, Role } from "/dev/static/appwrite.js";

const MOST = 100;

export class Here {
  channel = Channel.presences();
  #presences;
  #changed;
  #person = null;
  #known = new Map();
  // Who came and who left (null) while a list was on its way, which may know nothing of it.
  #news = new Map();

  constructor(client, changed) {
    this.#presences = new Presences(client);
    this.#changed = changed;
  }

  /** Return what tells the others that somebody is here. */
  static presenceOf(person) {
    return {
      // Nobody else can have taken it, as they could the ID of the person, which others see.
      presenceId: ID.unique(),
      status: "here",
      permissions: [Permission.read(Role.users())],
      metadata: { name: person.name },
    };
  }

  /** Return who is here: their names, and whether it is the one who looks, who comes first. */
  people() {
    return [...this.#known.values()]
      .map(({ userId, metadata }) => ({ id: userId, name: String(metadata?.name ?? "") || "?", isMe: userId === this.#person?.$id }))
      .sort((a, b) => b.isMe - a.isMe || a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1));
  }

  forget(person) {
    this.#person = person;
    this.#known.clear();
    this.#changed();
  }

  async load(isCurrent) {
    if (!this.#person) return;
    this.#news.clear();
    const { presences } = await this.#presences.list({ queries: [Query.limit(MOST)] });
    if (!isCurrent()) return;
    const listed = new Map(presences.map((presence) => [presence.$id, presence]));
    for (const [id, presence] of this.#news) {
      if (presence) listed.set(id, presence);
      else listed.delete(id);
    }
    this.#known = listed;
    this.#changed();
  }

  receive({ events, payload }) {
    const isGone = events[0].endsWith(".delete");
    if (isGone) this.#known.delete(payload.$id);
    else this.#known.set(payload.$id, payload);
    this.#news.set(payload.$id, isGone ? null : payload);
    this.#changed();
  }
}
