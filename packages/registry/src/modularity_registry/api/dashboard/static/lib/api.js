// Calls of the registry's API, and what went wrong with them in plain words.

const BASE = new URL("../..", import.meta.url);

// In memory only: it is gone with the page.
let token = "";
let onToken = () => {};
let onRefused = () => {};

export function setToken(given) {
  token = given.trim();
  onToken();
}

export const hasToken = () => token !== "";

/** Have `listener` called whenever another token is to be used. */
export function whenTokenChanges(listener) {
  onToken = listener;
}

/** Have `listener(words, shown)` called whenever the token shown, or that there is none, is refused. */
export function whenRefused(listener) {
  onRefused = listener;
}

/** A call that failed; its message is for people. `status` is 0 without an answer. */
export class Problem extends Error {
  constructor(message, status = 0, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** An address below the page's own, wherever a proxy may have put it. */
export const address = (path) => new URL(path, BASE);

const headers = (more, shown) => (shown ? { ...more, Authorization: `Bearer ${shown}` } : { ...more });

const IN_DOUBT =
  "The registry did not answer, so the change may or may not have been made. Check the service before you try again.";

/** Send a request; return the response, or throw a `Problem`. `tried` is a token not in use yet. */
export async function send(method, path, { body, signal, more, tried } = {}) {
  const shown = tried ?? token;
  const options = { method, signal, cache: "no-store", headers: headers(more, shown) };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(address(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(method === "GET" ? "Can't reach the registry." : IN_DOUBT);
  }
  if (response.ok || response.status === 304) return response;
  const found = await problem(response, shown);
  // An answer to what was shown before says nothing of what is shown now.
  if (found.status === 401 && shown === token) onRefused(found.message, shown !== "");
  throw found;
}

/** The JSON that a GET is answered with. */
export async function read(path, signal, tried) {
  return (await send("GET", path, { signal, tried })).json();
}

/** Reads one address again and again; `null` when nothing is new. */
export class Reader {
  #path;
  #tag = "";

  constructor(path) {
    this.#path = path;
  }

  async read(signal) {
    const more = this.#tag ? { "If-None-Match": this.#tag } : {};
    const response = await send("GET", this.#path, { signal, more });
    if (response.status === 304) return null;
    const found = await response.json();
    this.#tag = response.headers.get("ETag") ?? "";
    return found;
  }
}

async function problem(response, shown) {
  let told = {};
  try {
    told = await response.json();
  } catch {
    // A proxy in between may answer in its own way.
  }
  return new Problem(words(response.status, told, shown), response.status, told.code ?? "");
}

function words(status, told, shown) {
  const detail = sentence(told.detail ?? told.error ?? "");
  if (status === 401) {
    if (shown) return `The registry rejected this access token. ${detail}`;
    return "You need an access token. Enter it with the key button at the top.";
  }
  if (status === 403 && told.code === "origin_refused") return `The registry does not accept changes from this page. ${detail}`;
  if (status === 403) return `Your access token does not allow this. ${detail}`;
  if (told.code === "owned_by_another") return `This service belongs to someone else. ${detail}`;
  if (detail) return detail;
  if (status === 502 || status === 504) return "The proxy in front of the registry can't reach it.";
  return `The registry answered with HTTP ${status} and gave no reason.`;
}

function sentence(text) {
  if (typeof text !== "string" || text === "") return "";
  const begun = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

export const servicePath = (id) => `api/services/${encodeURIComponent(id)}`;
