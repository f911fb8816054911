/** Who uses the board: the account behind the browser's session, and the ways to get one. */
import { Account, AppwriteException, ID } from "/dev/static/appwrite.js";

// Pages cannot see the session itself. Without this note nobody is asked for, as visitors would get an error for it.
const NOTE = "board-session";

export class People {
  #account;

  constructor(client) {
    this.#account = new Account(client);
  }

  /** Return the account that is logged in; null for somebody who is only looking on. */
  async current() {
    if (localStorage.getItem(NOTE) === null) return null;
    try {
      return await this.#account.get();
    } catch (error) {
      if (!(error instanceof AppwriteException && error.code === 401)) throw error;
      localStorage.removeItem(NOTE);
      return null;
    }
  }

  async joinAsGuest({ name }) {
    await this.#begin(() => this.#account.createAnonymousSession());
    await this.#account.updateName({ name });
  }

  async signUp({ name, email, password }) {
    await this.#account.create({ userId: ID.unique(), name, email, password });
    await this.logIn({ email, password });
  }

  async logIn({ email, password }) {
    await this.#begin(() => this.#account.createEmailPasswordSession({ email, password }));
  }

  async leave() {
    await this.#account.deleteSession({ sessionId: "current" });
    localStorage.removeItem(NOTE);
  }

  /** Create a session in the place of one that there may be without a note. */
  async #begin(create) {
    try {
      await create();
    } catch (error) {
      if (!(error instanceof AppwriteException && error.type === "user_session_already_exists")) throw error;
      await this.#account.deleteSession({ sessionId: "current" });
      await create();
    }
    localStorage.setItem(NOTE, "yes");
  }
}
