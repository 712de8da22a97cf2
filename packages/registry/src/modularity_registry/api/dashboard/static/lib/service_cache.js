// All services as the registry tells of them: read once, then kept by its events.

import { Problem, read } from "./api.js";
import { value } from "./format.js";

const PAGE = 10_000;
const AGAIN = 3_000; // milliseconds from one reading of the whole list to the next

/** A service with what finding and sorting needs at hand. Never changed once made. */
function record(service) {
  const metadata = Object.entries(service.metadata).map(([key, given]) => `${key}=${value(given)}`);
  const words = [service.id, service.name, service.version, service.location];
  return {
    service,
    haystack: [...words, ...service.capabilities, ...metadata].join("\n").toLowerCase(),
    name: service.name.toLowerCase(),
  };
}

export class Model {
  #records = new Map();
  #listeners = new Set();
  #held = null; // events that came while the list was being read
  #reading = null;
  #again = false;
  #readAt = -AGAIN;
  #scheduled = false;
  #cost = 0; // milliseconds that showing the last changes took
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

  /** Call `listener(event)` for each event, and without one when anything has changed. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Take an event of the stream. */
  take(event) {
    if (event.event === "connected") {
      // A stream that was resumed has missed nothing, unless it says so.
      if (!event.resumed || !this.loaded) this.#readAnew();
      return;
    }
    if (event.event === "resync") this.#readAnew();
    else if (this.#held) this.#held.push(event);
    else this.#apply(event);
    for (const listener of this.#listeners) listener(event);
  }

  /** Read the whole list anew; what happens meanwhile is added to it. */
  read() {
    this.#held ??= [];
    this.#reading ??= this.#readAll().finally(() => {
      this.#reading = null;
      if (!this.#again) return;
      this.#again = false;
      this.read();
    });
    return this.#reading;
  }

  #readAnew() {
    // What is being read now may have begun too early.
    if (this.#reading) this.#again = true;
    else this.read();
  }

  async #readAll() {
    await wait(this.#readAt + AGAIN - performance.now());
    try {
      const held = (this.#held = []);
      const found = new Map();
      let next = "";
      do {
        const cursor = next ? `&cursor=${encodeURIComponent(next)}` : "";
        const page = await read(`api/services?limit=${PAGE}${cursor}`);
        for (const service of page.services) found.set(service.id, record(service));
        next = page.next;
      } while (next);
      this.#records = found;
      this.#held = null;
      this.loaded = true;
      this.problem = "";
      held.forEach((event) => this.#apply(event));
      this.#readAt = performance.now();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.problem = error.message;
      this.#readAt = performance.now();
      // Refused, only another token helps; that reads anew by itself.
      if (error.status !== 401 && error.status !== 403) setTimeout(() => this.read(), AGAIN);
    }
    this.#changed();
  }

  #apply(event) {
    const { data, revision } = event;
    if (revision === null || typeof data?.id !== "string") return;
    const known = this.#records.get(data.id);
    if (known && known.service.revision >= revision) return;
    if (event.event === "service.unregistered") {
      this.#records.delete(data.id);
    } else {
      // What an event says of a change is not a part of the service.
      const { old_status: _old, new_status: _new, reason: _reason, ...service } = data;
      this.#records.set(data.id, record(service));
    }
    this.#changed();
  }

  #changed() {
    this.version += 1;
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Many changes at once are shown at once, and most of the time is the reader's.
    setTimeout(() => {
      this.#scheduled = false;
      const begun = performance.now();
      for (const listener of this.#listeners) listener(null);
      this.#cost = performance.now() - begun;
    }, Math.min(500, Math.max(50, this.#cost * 4)));
  }
}

const wait = (time) => new Promise((resolve) => setTimeout(resolve, Math.max(0, time)));
