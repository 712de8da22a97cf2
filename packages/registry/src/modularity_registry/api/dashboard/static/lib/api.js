// Calls the registry's API and turns its errors into messages for people.

const BASE = new URL("../..", import.meta.url);

const KEPT = "modularity-token"; // in the tab's own storage, if the user wants it there

const PASSED = "modularity-token-passed"; // there only while the page of another namespace loads

export const DEFAULT_NAMESPACE = "default";

/** The namespace of this page, which is in its address. */
export const namespace = new URLSearchParams(location.search).get("namespace") || DEFAULT_NAMESPACE;

let token = passedToken() || (storage()?.getItem(KEPT) ?? "");
let tokenListener = () => {};
let refusedListener = () => {};

/** Send this token from now on; with `keep` also after a reload, until the tab is closed. */
export function setToken(text, keep) {
  token = text.trim();
  if (keep) storage()?.setItem(KEPT, token);
  else forgetKeptToken();
  tokenListener();
}

export const forgetKeptToken = () => storage()?.removeItem(KEPT);

function storage() {
  try {
    return sessionStorage;
  } catch {
    return null; // the browser forbids it
  }
}

export const hasToken = () => token !== "";

/** Call `listener()` when the token changes. */
export function onTokenChange(listener) {
  tokenListener = listener;
}

/** Call `listener(message, hadToken)` when a call is refused for its token or for having none. */
export function onTokenRefused(listener) {
  refusedListener = listener;
}

/** Load the page of another namespace, with the token: nothing of this one stays. */
export function openNamespace(name) {
  if (token && !storage()?.getItem(KEPT)) storage()?.setItem(PASSED, token);
  const query = name === DEFAULT_NAMESPACE ? "" : `?namespace=${encodeURIComponent(name)}`;
  const [, view = "services"] = location.hash.split(/[/?]/);
  location.assign(`${address("").pathname}${query}#/${view}`);
}

function passedToken() {
  const passed = storage()?.getItem(PASSED) ?? "";
  storage()?.removeItem(PASSED);
  return passed;
}

/** A failed call; its message is for people. `status` is 0 if there was no reply. */
export class Problem extends Error {
  constructor(message, status = 0, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** A URL of the registry, under whatever path a proxy serves it. */
export const address = (path) => new URL(path, BASE);

/** The path of a call in this page's namespace. */
function pathIn(path) {
  if (namespace === DEFAULT_NAMESPACE || path === "api/namespaces" || !path.startsWith("api/")) return path;
  // Also what a browser would take out of a path, as it does with dots.
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(namespace)) throw new Problem("The address of this page names no namespace. Choose one at the top.");
  return `api/ns/${namespace}/${path.slice("api/".length)}`;
}

const withToken = (headers, sentToken) => (sentToken ? { ...headers, Authorization: `Bearer ${sentToken}` } : { ...headers });

const IN_DOUBT =
  "The registry did not answer, so the change may or may not have been made. Check the service before you try again.";

/** Send a request; return the response, or throw a `Problem`. `candidate` is a token to send instead of the current one. */
export async function send(method, path, { body, signal, headers, candidate } = {}) {
  const sentToken = candidate ?? token;
  const options = { method, signal, cache: "no-store", headers: withToken(headers, sentToken) };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const url = address(pathIn(path));
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(method === "GET" ? "Can't reach the registry." : IN_DOUBT);
  }
  if (response.ok || response.status === 304) return response;
  const failure = await problem(response, sentToken);
  // A reply to an older token says nothing about the current one.
  if (failure.status === 401 && sentToken === token) {
    forgetKeptToken();
    refusedListener(failure.message, sentToken !== "");
  }
  throw failure;
}

/** The JSON body of a GET. */
export async function read(path, signal, candidate) {
  return (await send("GET", path, { signal, candidate })).json();
}

/** Reads one path repeatedly; `read` returns `null` when nothing has changed. */
export class CachedReader {
  #path;
  #tag = "";

  constructor(path) {
    this.#path = path;
  }

  async read(signal) {
    const headers = this.#tag ? { "If-None-Match": this.#tag } : {};
    const response = await send("GET", this.#path, { signal, headers });
    if (response.status === 304) return null;
    const body = await response.json();
    this.#tag = response.headers.get("ETag") ?? "";
    return body;
  }
}

async function problem(response, sentToken) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // A proxy may reply with something other than JSON.
  }
  return new Problem(messageFor(response.status, body, sentToken), response.status, body.code ?? "");
}

function messageFor(status, body, sentToken) {
  const detail = sentence(body.detail ?? body.error ?? "");
  if (status === 401) {
    if (sentToken) return `The registry rejected this access token. ${detail}`;
    return "You need an access token. Enter it with the key button at the top.";
  }
  if (status === 403 && body.code === "origin_refused") return `The registry does not accept changes from this page. ${detail}`;
  if (status === 403) return `Your access token does not allow this. ${detail}`;
  if (body.code === "owned_by_another") return `This service belongs to someone else. ${detail}`;
  if (detail) return detail;
  if (status === 502 || status === 504) return "The proxy in front of the registry can't reach it.";
  return `The registry answered with HTTP ${status} and gave no reason.`;
}

function sentence(text) {
  if (typeof text !== "string" || text === "") return "";
  const capitalized = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capitalized) ? capitalized : `${capitalized}.`;
}

export const servicePath = (id) => `api/services/${encodeURIComponent(id)}`;
