// All services: read once, then kept up to date by the registry's events.

import { Problem, read } from "./api.js";
import { metadataValue } from "./format.js";

const FIRST_PAGE_SIZE = 200; // small, so that there is something to see at once
const PAGE_SIZE = 10_000;
const RELOAD_PERIOD = 3_000; // milliseconds between two reads of the whole list, at least

/** A service with what search and sorting need. Never changed once made. */
function record(service) {
  const metadata = Object.entries(service.metadata).map(([key, value]) => `${key}=${metadataValue(value)}`);
  const fields = [service.id, service.name, service.version, service.location, service.zone ?? "", service.region ?? "", service.status_reason ?? ""];
  return {
    service,
    searchText: [...fields, ...service.capabilities, ...metadata].join("\n").toLowerCase(),
  };
}

export class ServiceCache {
  #records = new Map();
  #listeners = new Set();
  #pendingEvents = null; // events that arrived while the list was being read
  #loading = null;
  #reloadQueued = false;
  #loadedAt = -RELOAD_PERIOD;
  #notifyScheduled = false;
  #renderTime = 0; // milliseconds that the last render took
  version = 0;
  loaded = false;
  problem = "";

  get(id) {
    return this.#records.get(id)?.service;
  }

  all() {
    return [...this.#records.values()];
  }

  get size() {
    return this.#records.size;
  }

  /** Call `listener(event)` for each event, and `listener(null)` when a service has changed. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Apply an event of the stream. */
  onEvent(event) {
    if (event.event === "connected") {
      // A resumed stream has missed nothing, unless it sends `resync`.
      if (!event.resumed || !this.loaded) this.#reload();
      return;
    }
    if (event.event === "resync") this.#reload();
    else if (this.#pendingEvents) this.#pendingEvents.push(event);
    else this.#apply(event);
    for (const listener of this.#listeners) listener(event);
  }

  /** Read the whole list again, and apply the events that arrive meanwhile. */
  load() {
    this.#pendingEvents ??= [];
    this.#loading ??= this.#loadAll().finally(() => {
      this.#loading = null;
      if (!this.#reloadQueued) return;
      this.#reloadQueued = false;
      this.load();
    });
    return this.#loading;
  }

  #reload() {
    // The read under way may have started too early.
    if (this.#loading) this.#reloadQueued = true;
    else this.load();
  }

  async #loadAll() {
    await wait(this.#loadedAt + RELOAD_PERIOD - performance.now());
    try {
      const pendingEvents = (this.#pendingEvents = []);
      const records = new Map();
      let next = "";
      do {
        const cursor = next ? `&cursor=${encodeURIComponent(next)}` : "";
        const size = next ? PAGE_SIZE : FIRST_PAGE_SIZE;
        const page = await read(`api/services?limit=${size}${cursor}`);
        for (const service of page.services) records.set(service.id, record(service));
        next = page.next;
        if (next && !this.#records.size) this.#showFirst(records);
      } while (next);
      this.#records = records;
      this.#pendingEvents = null;
      this.loaded = true;
      this.problem = "";
      pendingEvents.forEach((event) => this.#apply(event));
      this.#loadedAt = performance.now();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.problem = error.message;
      this.#loadedAt = performance.now();
      // After a refusal only another token helps, and that reloads by itself.
      if (error.status !== 401 && error.status !== 403) setTimeout(() => this.load(), RELOAD_PERIOD);
    }
    this.#notify();
  }

  /** Show the first page while the others are read. */
  #showFirst(records) {
    this.#records = new Map(records);
    this.loaded = true;
    this.#notify();
  }

  #apply(event) {
    const { data, revision } = event;
    if (revision === null || typeof data?.id !== "string") return;
    const existing = this.#records.get(data.id);
    if (existing && existing.service.revision >= revision) return;
    if (event.event === "service.unregistered") {
      this.#records.delete(data.id);
    } else {
      // These describe the change and are not part of the service.
      const { old_status: _old, new_status: _new, reason: _reason, ...service } = data;
      this.#records.set(data.id, record(service));
    }
    this.#notify();
  }

  #notify() {
    this.version += 1;
    if (this.#notifyScheduled) return;
    this.#notifyScheduled = true;
    // Group changes, and leave most of the time to the user.
    setTimeout(() => {
      this.#notifyScheduled = false;
      const startedAt = performance.now();
      for (const listener of this.#listeners) listener(null);
      this.#renderTime = performance.now() - startedAt;
    }, Math.min(500, Math.max(50, this.#renderTime * 4)));
  }
}

const wait = (time) => new Promise((resolve) => setTimeout(resolve, Math.max(0, time)));
