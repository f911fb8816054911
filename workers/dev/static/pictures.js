/**
 * The pictures of cards: the picture of a card is the file of its ID that whoever made the card may delete.
 *
 * Anybody can upload a file of that ID; but nobody can permit more than they may themselves, and so name somebody else.
 */
import { AppwriteException, Channel, Query, Storage } from "/dev/static/appwrite.js";
import { permissionsOf } from "/dev/static/cards.js";

const BUCKET = "board-pictures";
const MOST = 500;
const THUMBNAIL = { width: 560, height: 320 };
// What the bucket takes; it is asked here too, so that nobody waits for an upload that is refused.
const TYPES = { "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp" };
const MAX_BYTES = 5_000_000;

export class Pictures {
  channel = Channel.bucket(BUCKET).file();
  static accept = Object.keys(TYPES).join(",");
  #storage;
  #changed;
  #files = new Map();
  // Those that went while a list was on its way, and those that came.
  #gone = new Set();
  #come = new Map();

  constructor(client, changed) {
    this.#storage = new Storage(client);
    this.#changed = changed;
  }

  /** Tell whether a card, of which this is the row, has a picture. */
  has(row) {
    const permissions = this.#files.get(row.$id)?.$permissions ?? [];
    const makers = row.$permissions.filter((permission) => permission.startsWith('delete("user:'));
    return makers.length > 0 && makers.every((maker) => permissions.includes(maker));
  }

  /** Return the address of a small picture. */
  thumbnail(id) {
    return this.#storage.getFilePreview({ bucketId: BUCKET, fileId: id, ...THUMBNAIL });
  }

  full(id) {
    return this.#storage.getFileView({ bucketId: BUCKET, fileId: id });
  }

  /** Upload the picture of a card; throws what to tell whoever chose it. */
  async add({ id, file, isPrivate, person }) {
    await check(file);
    // Its name stays on the machine of whoever chose it.
    const named = new File([file], `picture.${TYPES[file.type]}`, { type: file.type });
    // Others may change the card, but not whose picture this is.
    const permissions = permissionsOf(person, isPrivate).filter((permission) => !permission.startsWith("update("));
    const made = await this.#storage.createFile({ bucketId: BUCKET, fileId: id, file: named, permissions });
    this.#files.set(id, made);
    this.#come.set(id, made);
  }

  /** Remove the picture of a card, if it has one. */
  async remove(id) {
    try {
      await this.#storage.deleteFile({ bucketId: BUCKET, fileId: id });
    } catch (error) {
      if (!(error instanceof AppwriteException && error.code === 404)) throw error;
    }
    this.#files.delete(id);
  }

  forget() {
    this.#files.clear();
  }

  async load(isCurrent) {
    this.#gone.clear();
    this.#come.clear();
    const { files } = await this.#storage.listFiles({ bucketId: BUCKET, queries: [Query.limit(MOST)] });
    if (!isCurrent()) return;
    this.#files = new Map([...files.map((file) => [file.$id, file]), ...this.#come]);
    for (const id of this.#gone) this.#files.delete(id);
    this.#changed();
  }

  receive({ events, payload: file }) {
    if (events[0].endsWith(".delete")) {
      this.#files.delete(file.$id);
      this.#come.delete(file.$id);
      this.#gone.add(file.$id);
    } else {
      this.#files.set(file.$id, file);
      this.#come.set(file.$id, file);
      this.#gone.delete(file.$id);
    }
    this.#changed();
  }
}

async function check(file) {
  if (!(file.type in TYPES)) throw new Error(`“${file.name}” is not a PNG, JPEG, GIF or WebP picture.`);
  if (file.size > MAX_BYTES) throw new Error(`“${file.name}” is larger than ${MAX_BYTES / 1_000_000} MB.`);
  try {
    (await createImageBitmap(file)).close();
  } catch {
    throw new Error(`“${file.name}” cannot be read as a picture.`);
  }
}
