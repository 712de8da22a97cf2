// Calls of the registry's API, and what went wrong with them in plain words.

const BASE = new URL("..", import.meta.url);

// In memory only: it is gone with the page.
let token = "";
let onToken = () => {};

export function setToken(given) {
  token = given.trim();
  onToken();
}

export const hasToken = () => token !== "";

/** Have `listener` called whenever another token is to be used. */
export function whenTokenChanges(listener) {
  onToken = listener;
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

export function headers(more = {}) {
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

const IN_DOUBT =
  "The registry did not answer, so it is not known whether this was done. Look at the service before you try again.";

/** Send a request; return the response, or throw a `Problem`. */
export async function send(method, path, { body, signal, more } = {}) {
  const options = { method, signal, cache: "no-store", headers: headers(more) };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(address(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(method === "GET" ? "The registry does not answer." : IN_DOUBT);
  }
  if (!response.ok && response.status !== 304) throw await problem(response);
  return response;
}

/** The JSON that a GET is answered with. */
export async function read(path, signal) {
  return (await send("GET", path, { signal })).json();
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

async function problem(response) {
  let told = {};
  try {
    told = await response.json();
  } catch {
    // A proxy in between may answer in its own way.
  }
  return new Problem(words(response.status, told), response.status, told.code ?? "");
}

function words(status, told) {
  const detail = sentence(told.detail ?? told.error ?? "");
  if (status === 401) {
    return token
      ? `The registry does not know this access token. ${detail}`
      : `The registry asks for an access token: enter it with the key button at the top. ${detail}`;
  }
  if (status === 403) return `The access token does not allow this. ${detail}`;
  if (detail) return detail;
  if (status === 502 || status === 504) return "The proxy in between can't reach the registry.";
  return `The registry answered with HTTP ${status} and did not say why.`;
}

function sentence(text) {
  if (typeof text !== "string" || text === "") return "";
  const begun = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

export const servicePath = (id) => `api/services/${encodeURIComponent(id)}`;
