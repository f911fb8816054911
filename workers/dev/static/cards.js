/**
 * The cards of the board: rows of one table, loaded once and kept up to date by realtime events.
 *
 * What somebody may see and do is decided by the permissions of each row: a card for all can be read by anybody, changed
 * by whoever is logged in and deleted by who made it; a private card belongs to its maker in every respect.
 */
import { Channel, Permission, Query, Role, TablesDB } from "/dev/static/appwrite.js";

const TABLE = { databaseId: "board", tableId: "cards" };
const ROWS = Channel.tablesdb(TABLE.databaseId).table(TABLE.tableId).row();
const MOST = 500;

/** Who may do what with a card. */
export function permissionsOf(person, isPrivate) {
  const me = Role.user(person.$id);
  return [
    Permission.read(isPrivate ? me : Role.any()),
    Permission.update(isPrivate ? me : Role.users()),
    Permission.delete(me),
  ];
}

export class Cards {
  channel = ROWS;
  #tables;
  #listeners;
  #rows = new Map();
  // Each row as the last event or list had it: what the next event is compared with, whatever this page has changed since.
  #told = new Map();
  // When each row was last heard of: a number that grows.
  #heard = new Map();
  #clock = 0;

  /** Listeners: changed() after any change, happened(action, before, row) for events. */
  constructor(client, listeners) {
    this.#tables = new TablesDB(client);
    this.#listeners = listeners;
  }

  /** Forget what somebody else could see. */
  forget() {
    this.#rows.clear();
    this.#told.clear();
  }

  /** Return the cards in one column, from top to bottom. */
  in(column) {
    return [...this.#rows.values()]
      .filter((row) => row.column === column)
      .sort((a, b) => a.position - b.position || (a.$id < b.$id ? -1 : 1));
  }

  get(id) {
    return this.#rows.get(id);
  }

  async add({ id, title, column, isPrivate, person }) {
    const position = this.#place(this.in(column), Infinity);
    const data = { title, column, position, by: person.name, changedBy: person.name };
    const permissions = permissionsOf(person, isPrivate);
    this.#put(await this.#tables.createRow({ ...TABLE, rowId: id, data, permissions }));
    this.#listeners.changed();
  }

  /** Put a card at a place in a column, counted without the card itself. */
  async move({ id, column, index, person }) {
    const others = this.in(column).filter((row) => row.$id !== id);
    await this.#change(id, { column, position: this.#place(others, index), changedBy: person.name });
  }

  async retitle({ id, title, person }) {
    await this.#change(id, { title, changedBy: person.name });
  }

  async remove(id) {
    await this.#tables.deleteRow({ ...TABLE, rowId: id });
    this.#rows.delete(id);
    this.#listeners.changed();
  }

  async #change(id, data) {
    this.#put(await this.#tables.updateRow({ ...TABLE, rowId: id, data }));
    this.#listeners.changed();
  }

  /**
   * Return a position between the neighbours at `index`, so that no other card has to be moved. The end is the time, so
   * that it is also behind the cards that only others see.
   */
  #place(rows, index) {
    const before = rows[Math.min(index, rows.length) - 1]?.position;
    const after = rows[index]?.position;
    if (after === undefined) return Math.max(Date.now(), (before ?? 0) + 1);
    return before === undefined ? after - 1 : (before + after) / 2;
  }

  async load(isCurrent) {
    const started = ++this.#clock;
    const { rows } = await this.#tables.listRows({ ...TABLE, queries: [Query.orderAsc("position"), Query.limit(MOST)] });
    if (!isCurrent()) return;
    const listed = new Set(rows.map((row) => row.$id));
    for (const id of this.#rows.keys()) {
      if (!listed.has(id) && this.#heard.get(id) < started) this.#rows.delete(id);
    }
    for (const row of rows) {
      // Deleted while the list was on its way.
      if (!this.#rows.has(row.$id) && this.#heard.get(row.$id) > started) continue;
      if (!this.#told.has(row.$id)) this.#told.set(row.$id, row);
      this.#put(row);
    }
    this.#listeners.changed();
  }

  receive({ events, payload: row }) {
    const action = events[0].split(".").at(-1);
    const before = this.#told.get(row.$id);
    this.#told.set(row.$id, row);
    if (action === "delete") {
      this.#rows.delete(row.$id);
      this.#told.delete(row.$id);
      this.#heard.set(row.$id, ++this.#clock);
    } else {
      this.#put(row);
    }
    this.#listeners.happened(action, before, row);
    this.#listeners.changed();
  }

  #put(row) {
    const known = this.#rows.get(row.$id);
    if (known && known.$updatedAt > row.$updatedAt) return;
    this.#rows.set(row.$id, row);
    this.#heard.set(row.$id, ++this.#clock);
  }
}
