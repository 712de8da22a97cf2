// Follows /api/events. Not an EventSource: that can't send an access token.

import { Problem, send } from "./api.js";

const SILENCE_TIMEOUT = 40_000; // the registry sends something at least every 15 s
const LONGEST_PAUSE = 10_000;
const REFUSED_PAUSE = 60_000; // only another token helps, and that restarts the stream

/** Calls `onEvent(event)` for each event and `onState(state, problem)` when the connection changes. */
export class EventStream {
  #onEvent;
  #onState;
  #last = "";
  #attempt = null;
  #wake = () => {};
  #restartRequested = false; // not a lost connection

  constructor(onEvent, onState) {
    this.#onEvent = onEvent;
    this.#onState = onState;
  }

  /** Reconnect at once, for example with another token. */
  restart() {
    this.#last = "";
    this.#restartRequested = true;
    this.#attempt?.abort();
    this.#wake();
  }

  /** Follow events for ever; reconnect when the connection breaks. */
  async run() {
    let pause = 500;
    for (;;) {
      const startedAt = performance.now();
      let problem = "Lost the connection to the registry. Reconnecting.";
      let refused = false;
      try {
        await this.#follow();
      } catch (error) {
        if (error instanceof Problem) problem = error.message;
        refused = error.status === 401 || error.status === 403;
      }
      if (this.#restartRequested) {
        this.#restartRequested = false;
        this.#onState("connecting", "");
        continue;
      }
      this.#onState("lost", problem);
      if (refused) {
        await this.#pause(REFUSED_PAUSE);
        continue;
      }
      pause = performance.now() - startedAt > 5_000 ? 500 : Math.min(pause * 2, LONGEST_PAUSE);
      await this.#pause(pause * (0.7 + 0.3 * Math.random()));
    }
  }

  #pause(time) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, time);
      this.#wake = () => {
        clearTimeout(timer);
        this.#restartRequested = false;
        resolve();
      };
    });
  }

  async #follow() {
    const attempt = new AbortController();
    this.#attempt = attempt;
    let timer = setTimeout(() => attempt.abort(), SILENCE_TIMEOUT);
    try {
      const resumed = this.#last !== "";
      const headers = resumed ? { "Last-Event-ID": this.#last } : {};
      const response = await send("GET", "api/events", { signal: attempt.signal, headers });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let buffer = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => attempt.abort(), SILENCE_TIMEOUT);
        const frames = (buffer + value).split("\n\n");
        buffer = frames.pop();
        frames.forEach((frame) => this.#onFrame(frame, resumed));
      }
    } finally {
      clearTimeout(timer);
      attempt.abort();
    }
  }

  #onFrame(frame, resumed) {
    let id = null;
    let data = "";
    for (const line of frame.split("\n")) {
      if (line.startsWith("id: ")) id = line.slice(4);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (id !== null) this.#last = id; // a keep-alive has an id and no data
    if (!data) return;
    const event = JSON.parse(data);
    if (event.event === "connected") this.#onState("live", "");
    this.#onEvent({ ...event, resumed });
  }
}
