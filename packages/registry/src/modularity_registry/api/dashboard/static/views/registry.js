// The registry itself: is it well, where does it keep things, who else serves them.

import { read } from "../lib/api.js";
import { badge, facts, h, say, table } from "../lib/dom.js";
import { ago, count, span } from "../lib/format.js";

const PERIOD = 2_000;

export class RegistryView {
  title = "Registry";
  #gone = new AbortController();
  #timer;
  #shown = "";

  constructor() {
    this.problem = h("p", { class: "problem", role: "alert", hidden: true });
    this.cards = h("div", { class: "cards" });
    this.uptime = h("span");
    this.element = h(
      "section",
      { class: "view" },
      h("div", { class: "heading" }, h("h1", { tabindex: -1 }, "Registry"), h("p", { class: "found" }, this.uptime)),
      this.problem,
      this.cards,
    );
    this.#timer = setInterval(() => document.visibilityState === "visible" && this.#look(), PERIOD);
    this.#look();
  }

  close() {
    this.#gone.abort();
    clearInterval(this.#timer);
  }

  async #look() {
    try {
      const { signal } = this.#gone;
      const [health, stats] = await Promise.all([read("health", signal), read("api/stats", signal)]);
      this.problem.hidden = true;
      this.#show(health, stats);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.problem.hidden = false;
      say(this.problem, error.message);
    }
  }

  #show(health, stats) {
    say(this.uptime, `Up for ${span(stats.uptime_seconds)} · version ${health.version}`);
    const replicas = health.replicas.map((each) => ({ ...each, seen: Math.floor(each.seen) }));
    const { uptime_seconds: _up, ...numbers } = stats;
    // What moves by itself is not a change.
    const text = JSON.stringify([health.status, health.reasons, health.stale_seconds, replicas, numbers]);
    if (text === this.#shown) return;
    this.#shown = text;
    const card = (title, ...content) => h("section", { class: "card" }, h("h2", null, title), content);
    this.cards.replaceChildren(
      card("State", state(health)),
      card("Activity", work(stats)),
      card("Services by mode", bars(stats.services_by_mode)),
      card("Services by runtime", bars(stats.services_by_runtime)),
      h("div", { class: "wide" }, card("Replicas", who(health))),
    );
  }
}

function state(health) {
  const word = health.status === "healthy" ? "healthy" : "degraded";
  const rows = [
    ["Status", badge(word === "healthy" ? "healthy" : "unhealthy", word)],
    ["Store", health.store],
    ["Revision", count(health.revision)],
    ["This replica", health.replica],
  ];
  if (health.stale_seconds !== undefined) rows.push(["View", `Stale for ${span(health.stale_seconds)}`]);
  return [facts(rows), (health.reasons ?? []).map((reason) => h("div", { class: "reason-box", "data-status": "unhealthy" }, h("p", null, reason)))].flat();
}

function work({ total_services: total, total_capabilities: capabilities, checks, watchers }) {
  const done = checks.succeeded + checks.failed;
  return facts([
    ["Services", count(total)],
    ["Capabilities", count(capabilities)],
    ["Checked by this replica", count(checks.watched)],
    ["Checks run", done ? `${count(done)} (${count(checks.failed)} failed)` : "None yet"],
    ["Watchers", count(watchers)],
  ]);
}

function bars(counts) {
  const rows = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  if (!rows.length) return h("p", { class: "faint" }, "No services");
  const most = rows[0][1];
  const row = ([name, number]) => {
    const bar = h("i");
    bar.style.width = `${(number / most) * 100}%`;
    return h("li", null, h("span", null, name), h("span", { class: "bar", "aria-hidden": "true" }, bar), h("b", null, count(number)));
  };
  const more = rows.length - 8;
  return [h("ul", { class: "bars" }, rows.slice(0, 8).map(row)), more > 0 ? h("p", { class: "faint" }, `and ${count(more)} more`) : null].filter(Boolean);
}

function who({ replicas, store }) {
  if (!replicas.length) {
    return h("p", { class: "faint" }, `This is the only replica. The ${store} store is not shared.`);
  }
  return table(
    "Replicas",
    ["Replica", "State", "Last seen", "Host", "Version", "Started"],
    replicas.map((each) => [
      each.self ? `${each.id} (this one)` : each.id,
      badge(each.state === "alive" ? "healthy" : "unhealthy", each.state),
      each.seen < 1 ? "just now" : `${span(each.seen)} ago`,
      each.host,
      each.version,
      ago(each.started_at),
    ]),
  );
}
