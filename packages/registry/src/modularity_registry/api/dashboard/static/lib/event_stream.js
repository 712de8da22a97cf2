// Follows /api/events. Not an EventSource: that can't send an access token.

import { Problem, send } from "./api.js";

const SILENCE = 40_000; // the registry says something every 15 s
const LONGEST_PAUSE = 10_000;
const REFUSED_PAUSE = 60_000; // only another token helps, and that begins anew at once

/** Calls `onEvent(event)` for each event and `onState(state, words)` as things go. */
export class Stream {
  #onEvent;
  #onState;
  #last = "";
  #attempt = null;
  #wake = () => {};
  #asked = false; // to begin anew, which is no fault of the line

  constructor(onEvent, onState) {
    this.#onEvent = onEvent;
    this.#onState = onState;
  }

  /** Begin anew at once, say with another token. */
  restart() {
    this.#last = "";
    this.#asked = true;
    this.#attempt?.abort();
    this.#wake();
  }

  /** Follow for ever; the line is mended whenever it breaks. */
  async run() {
    let pause = 500;
    for (;;) {
      const begun = performance.now();
      let words = "Lost the connection to the registry. Reconnecting.";
      let refused = false;
      try {
        await this.#follow();
      } catch (error) {
        if (error instanceof Problem) words = error.message;
        refused = error.status === 401 || error.status === 403;
      }
      if (this.#asked) {
        this.#asked = false;
        this.#onState("connecting", "");
        continue;
      }
      this.#onState("lost", words);
      if (refused) {
        await this.#pause(REFUSED_PAUSE);
        continue;
      }
      pause = performance.now() - begun > 5_000 ? 500 : Math.min(pause * 2, LONGEST_PAUSE);
      await this.#pause(pause * (0.7 + 0.3 * Math.random()));
    }
  }

  #pause(time) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, time);
      this.#wake = () => {
        clearTimeout(timer);
        this.#asked = false;
        resolve();
      };
    });
  }

  async #follow() {
    const attempt = new AbortController();
    this.#attempt = attempt;
    let timer = setTimeout(() => attempt.abort(), SILENCE);
    try {
      const resumed = this.#last !== "";
      const more = resumed ? { "Last-Event-ID": this.#last } : {};
      const response = await send("GET", "api/events", { signal: attempt.signal, more });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => attempt.abort(), SILENCE);
        const frames = (rest + value).split("\n\n");
        rest = frames.pop();
        frames.forEach((frame) => this.#take(frame, resumed));
      }
    } finally {
      clearTimeout(timer);
      attempt.abort();
    }
  }

  #take(frame, resumed) {
    let id = null;
    let data = "";
    for (const line of frame.split("\n")) {
      if (line.startsWith("id: ")) id = line.slice(4);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (!data) return;
    if (id !== null) this.#last = id;
    const event = JSON.parse(data);
    if (event.event === "connected") this.#onState("live", "");
    this.#onEvent({ ...event, resumed });
  }
}
