// Who one is to the registry, and what one may do there.

import { Problem, read, setToken } from "./api.js";
import { moment } from "./format.js";

const RIGHTS = {
  read: "view services",
  register: "register, drain and unregister services",
  track: "report calls",
  admin: "everything, including tokens",
};
const BY_KEY = "owner_key"; // how the registry names an owner that it knows by a key

export class Me {
  #told = null; // what the registry says, if it said something
  #open = document.documentElement.dataset.access === "open"; // it has no tokens
  #listeners = new Set();
  #refused = ""; // why changes are not for one now
  #lost = ""; // the same, for who is asked for a token just now

  /** Call `listener()` whenever something else is known. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get name() {
    return this.#told?.name ?? "";
  }

  /** Ask the registry. What is not known is left for it to decide. */
  async look() {
    if (this.#open) return;
    try {
      this.#set(await read("api/whoami"), false);
    } catch (error) {
      if (error.status === 404) this.#set(null, true);
    }
  }

  /** Use another token if the registry takes it, else throw its `Problem`. */
  async use(given) {
    const token = given.trim();
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw new Problem(token ? "This is not a token: it contains a space or an unusual character." : "Enter a token.");
    }
    // Where the registry has no tokens, something in front of it may want this one.
    const told = this.#open ? null : await this.#ask(token);
    this.#set(told, told === null);
    setToken(token);
  }

  async #ask(token) {
    try {
      return await read("api/whoami", undefined, token);
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  /** The token (`shown`), or that there is none, was refused. */
  lose(words, shown) {
    const lost = shown ? words : "This registry needs an access token. Its administrator can create one for you.";
    this.#set(null, false, words, lost);
  }

  /** Why one is nobody here, in words; empty for who is somebody. */
  get lost() {
    return this.#lost;
  }

  /** Why one may not change a service, in words; empty where one may. */
  hindrance({ id, owner }) {
    if (this.#refused) return this.#refused;
    const told = this.#told;
    if (!told && !this.#open) return "";
    if (told?.rights.includes("admin")) return "";
    if (told && !told.rights.includes("register")) {
      return told.name
        ? `Your token ${told.name} may not change services.`
        : "You need an access token to change services. Enter it with the key button at the top.";
    }
    if (told && !told.ids.some((pattern) => matches(pattern, id))) {
      return `Your token ${told.name} is limited to the IDs ${told.ids.join(", ")}.`;
    }
    if (!owner || owner === told?.name) return "";
    if (owner === BY_KEY) return "This service belongs to the holder of its owner key, which this page can't send.";
    return `This service belongs to ${owner}. Only that token or an admin token may change it.`;
  }

  /** Names and values that say who one is. */
  facts() {
    if (this.#open) return [["Access", "This registry needs no token. Anyone who can reach it can change everything."]];
    const told = this.#told;
    if (!told) return [["Access", "Not known yet"]];
    if (!told.name) {
      return [
        ["Access", "Without a token"],
        ["Permissions", may(told.rights)],
      ];
    }
    const facts = [
      ["Token", told.name],
      ["Permissions", may(told.rights)],
    ];
    if (told.rights.includes("register") && !told.rights.includes("admin")) {
      facts.push(["IDs", bounds(told.ids)], ["Capabilities", bounds(told.capabilities)]);
    }
    facts.push(["Expires", told.expires_at ? moment(told.expires_at) : "Never"]);
    return facts;
  }

  #set(told, open, refused = "", lost = "") {
    this.#told = told;
    this.#open = open;
    this.#refused = refused;
    this.#lost = lost;
    for (const listener of this.#listeners) listener();
  }
}

function may(rights) {
  if (rights.includes("admin")) return capital(RIGHTS.admin);
  const words = Object.keys(RIGHTS).filter((right) => rights.includes(right));
  return words.length ? capital(words.map((right) => RIGHTS[right]).join("; ")) : "None";
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

const bounds = (patterns) => (patterns.includes("*") ? "All" : patterns.join(", "));

/** Whether the text is like the pattern, in which `*` stands for any characters. */
function matches(pattern, text) {
  const [first, ...rest] = pattern.split("*");
  if (!rest.length) return pattern === text;
  if (!text.startsWith(first)) return false;
  const last = rest.pop();
  let at = first.length;
  for (const part of rest) {
    at = text.indexOf(part, at);
    if (at < 0) return false;
    at += part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
