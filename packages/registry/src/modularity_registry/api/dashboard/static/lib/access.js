// Who you are to the registry, and what you may do there.

import { Problem, read, setToken } from "./api.js";
import { dateTime } from "./format.js";

const RIGHTS = {
  read: "view services",
  register: "register, drain and unregister services",
  track: "report calls",
  admin: "everything, including tokens",
};
const OWNER_KEY = "owner_key"; // the registry's name for an owner known by a key

export class Access {
  #caller = null; // the reply of /api/whoami, if there was one
  #open = document.documentElement.dataset.access === "open"; // the registry has no tokens
  #listeners = new Set();
  #refusal = ""; // why no change is allowed now
  #tokenPrompt = ""; // what the token dialog says after a refusal

  /** Call `listener()` when the caller or their rights change. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get name() {
    return this.#caller?.name ?? "";
  }

  /** Read the rights again. While they are unknown, nothing is disabled. */
  async refresh() {
    if (this.#open) return;
    try {
      this.#set(await read("api/whoami"), false);
    } catch (error) {
      if (error.status === 404) this.#set(null, true);
    }
  }

  /** Use another token if the registry accepts it, else throw its `Problem`; `keep`: see `setToken`. */
  async use(text, keep) {
    const token = text.trim();
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw new Problem(token ? "This is not a token: it contains a space or an unusual character." : "Enter a token.");
    }
    // If the registry has no tokens, a proxy in front of it may need this one.
    const caller = this.#open ? null : await this.#readCaller(token);
    this.#set(caller, caller === null);
    setToken(token, keep);
  }

  async #readCaller(token) {
    try {
      return await read("api/whoami", undefined, token);
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  /** A call was refused, for its token (`hadToken`) or for having none. */
  onRefused(message, hadToken) {
    const tokenPrompt = hadToken ? message : "This registry needs an access token. Its administrator can create one for you.";
    this.#set(null, false, message, tokenPrompt);
  }

  /** What the token dialog says after a refusal, else "". */
  get tokenPrompt() {
    return this.#tokenPrompt;
  }

  /** Why you may not change this service; "" if you may. */
  denial({ id, owner }) {
    if (this.#refusal) return this.#refusal;
    const caller = this.#caller;
    if (!caller && !this.#open) return "";
    if (caller?.rights.includes("admin")) return "";
    if (caller && !caller.rights.includes("register")) {
      return caller.name
        ? `Your token ${caller.name} may not change services.`
        : "You need an access token to change services. Enter it with the key button at the top.";
    }
    if (caller && !caller.ids.some((pattern) => matchesPattern(pattern, id))) {
      return `Your token ${caller.name} is limited to the IDs ${caller.ids.join(", ")}.`;
    }
    if (!owner || owner === caller?.name) return "";
    if (owner === OWNER_KEY) return "This service belongs to the holder of its owner key, which this page can't send.";
    return `This service belongs to ${owner}. Only that token or an admin token may change it.`;
  }

  /** Names and values for the token dialog. */
  facts() {
    if (this.#open) return [["Access", "This registry needs no token. Anyone who can reach it can change everything."]];
    const caller = this.#caller;
    if (!caller) return [["Access", "Not known yet"]];
    if (!caller.name) {
      return [
        ["Access", "Without a token"],
        ["Permissions", permissions(caller.rights)],
      ];
    }
    const facts = [
      ["Token", caller.name],
      ["Permissions", permissions(caller.rights)],
    ];
    if (caller.rights.includes("register") && !caller.rights.includes("admin")) {
      facts.push(["IDs", scope(caller.ids)], ["Capabilities", scope(caller.capabilities)]);
    }
    facts.push(["Expires", caller.expires_at ? dateTime(caller.expires_at) : "Never"]);
    return facts;
  }

  #set(caller, open, refusal = "", tokenPrompt = "") {
    this.#caller = caller;
    this.#open = open;
    this.#refusal = refusal;
    this.#tokenPrompt = tokenPrompt;
    for (const listener of this.#listeners) listener();
  }
}

function permissions(rights) {
  if (rights.includes("admin")) return capitalize(RIGHTS.admin);
  const granted = Object.keys(RIGHTS).filter((right) => rights.includes(right));
  return granted.length ? capitalize(granted.map((right) => RIGHTS[right]).join("; ")) : "None";
}

const capitalize = (text) => text[0].toUpperCase() + text.slice(1);

const scope = (patterns) => (patterns.includes("*") ? "All" : patterns.join(", "));

/** Whether the text matches the pattern, in which `*` stands for any characters. */
function matchesPattern(pattern, text) {
  const [first, ...rest] = pattern.split("*");
  if (!rest.length) return pattern === text;
  if (!text.startsWith(first)) return false;
  const last = rest.pop();
  let position = first.length;
  for (const part of rest) {
    position = text.indexOf(part, position);
    if (position < 0) return false;
    position += part.length;
  }
  return text.length - last.length >= position && text.endsWith(last);
}
