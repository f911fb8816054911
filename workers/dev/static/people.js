/** Who uses the board: the account behind the browser's session, and the ways to get one. */
import { Account, AppwriteException, ID } from "/dev/static/appwrite.js";

export class People {
  #account;

  constructor(client) {
    this.#account = new Account(client);
  }

  /** Return the account that is logged in; null for somebody who is only looking on. */
  async current() {
    try {
      return await this.#account.get();
    } catch (error) {
      if (error instanceof AppwriteException && error.code === 401) return null;
      throw error;
    }
  }

  async joinAsGuest({ name }) {
    await this.#account.createAnonymousSession();
    await this.#account.updateName({ name });
  }

  async signUp({ name, email, password }) {
    await this.#account.create({ userId: ID.unique(), name, email, password });
    await this.logIn({ email, password });
  }

  async logIn({ email, password }) {
    await this.#account.createEmailPasswordSession({ email, password });
  }

  async leave() {
    await this.#account.deleteSession({ sessionId: "current" });
  }
}
