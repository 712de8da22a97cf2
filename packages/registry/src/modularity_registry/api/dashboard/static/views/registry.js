// The registry itself: health, store, activity and replicas.

import { read } from "../lib/api.js";
import { badge, factList, h, setText, table } from "../lib/dom.js";
import { ago, count, duration } from "../lib/format.js";

const PERIOD = 2_000; // milliseconds between two reads

export class RegistryView {
  title = "Registry";
  #abort = new AbortController();
  #timer;
  #drawnFrom = "";

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
    this.#timer = setInterval(() => document.visibilityState === "visible" && this.#refresh(), PERIOD);
    this.#refresh();
  }

  close() {
    this.#abort.abort();
    clearInterval(this.#timer);
  }

  async #refresh() {
    try {
      const { signal } = this.#abort;
      const [health, stats] = await Promise.all([read("health", signal), read("api/stats", signal)]);
      this.problem.hidden = true;
      this.#render(health, stats);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.problem.hidden = false;
      setText(this.problem, error.message);
    }
  }

  #render(health, stats) {
    setText(this.uptime, `Up for ${duration(stats.uptime_seconds)} · version ${health.version}`);
    const replicas = health.replicas.map((replica) => ({ ...replica, seen: Math.floor(replica.seen) }));
    const { uptime_seconds: _up, ...numbers } = stats;
    // Without the uptime, which always changes.
    const data = JSON.stringify([health.status, health.reasons, health.stale_seconds, replicas, numbers]);
    if (data === this.#drawnFrom) return;
    this.#drawnFrom = data;
    const card = (title, ...content) => h("section", { class: "card" }, h("h2", null, title), content);
    this.cards.replaceChildren(
      card("State", stateFacts(health)),
      card("Activity", activityFacts(stats)),
      card("Services by mode", barChart(stats.services_by_mode)),
      card("Services by runtime", barChart(stats.services_by_runtime)),
      h("div", { class: "wide" }, card("Replicas", replicaTable(health))),
      ...(health.upstreams ? [h("div", { class: "wide" }, card("Upstreams", upstreamTable(health.upstreams)))] : []),
      ...(stats.integrations?.envoy ? [h("div", { class: "wide" }, card("Envoy", envoyTable(stats.integrations.envoy)))] : []),
    );
  }
}

function stateFacts(health) {
  const status = health.status === "healthy" ? "healthy" : "degraded";
  const rows = [
    ["Status", badge(status === "healthy" ? "healthy" : "unhealthy", status)],
    ["Store", health.store],
    ["Revision", count(health.revision)],
    ["This replica", health.replica],
  ];
  if (health.stale_seconds !== undefined) rows.push(["View", `Stale for ${duration(health.stale_seconds)}`]);
  return [factList(rows), (health.reasons ?? []).map((reason) => h("div", { class: "reason-box", "data-status": "unhealthy" }, h("p", null, reason)))].flat();
}

function activityFacts({ total_services: services, total_capabilities: capabilities, checks, watchers }) {
  const checksRun = checks.succeeded + checks.failed;
  return factList([
    ["Services", count(services)],
    ["Capabilities", count(capabilities)],
    ["Monitored services", count(checks.watched)],
    ["Checks run", checksRun ? `${count(checksRun)} (${count(checks.failed)} failed)` : "None yet"],
    ["Watchers", count(watchers)],
  ]);
}

function barChart(counts) {
  const rows = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  if (!rows.length) return h("p", { class: "faint" }, "No services");
  const highest = rows[0][1];
  const row = ([name, number]) => {
    const bar = h("i");
    bar.style.width = `${(number / highest) * 100}%`;
    return h("li", null, h("span", null, name), h("span", { class: "bar", "aria-hidden": "true" }, bar), h("b", null, count(number)));
  };
  const hiddenCount = rows.length - 8;
  return [h("ul", { class: "bars" }, rows.slice(0, 8).map(row)), hiddenCount > 0 ? h("p", { class: "faint" }, `and ${count(hiddenCount)} more`) : null].filter(Boolean);
}

function replicaTable({ replicas, store }) {
  if (!replicas.length) {
    return h("p", { class: "faint" }, `This is the only replica. The ${store} store is not shared.`);
  }
  return table(
    "Replicas",
    ["Replica", "State", "Last seen", "Version", "Started"],
    replicas.map((replica) => [
      h("div", { class: "two-lines" }, `${replica.host}${replica.address ? ` at ${replica.address}` : ""}${replica.self ? " (this one)" : ""}`, h("small", null, replica.id)),
      badge(replica.state === "alive" ? "healthy" : "unhealthy", replica.state),
      replica.seen < 1 ? "just now" : `${duration(replica.seen)} ago`,
      replica.version,
      ago(replica.started_at),
    ]),
  );
}

function upstreamTable(upstreams) {
  return table(
    "Upstreams",
    ["Upstream", "State", "Since", "Lists in memory"],
    upstreams.map((upstream) => [
      h("div", { class: "two-lines" }, upstream.name, h("small", null, upstream.url)),
      h("div", { class: "two-lines" }, badge(upstream.reason === null ? "healthy" : "unhealthy", upstream.state), h("small", null, upstream.reason ?? "")),
      ago(upstream.since),
      count(upstream.kept_lists),
    ]),
  );
}

function envoyTable({ nodes, shown }) {
  if (!nodes) return h("p", { class: "faint" }, "No node asks for resources.");
  const version = ({ accepted, sent }) => (accepted === sent ? accepted : `${accepted ?? "none"}, sent ${sent}`);
  const rows = table(
    "Envoy",
    ["Node", "State", "Accepted"],
    shown.map((node) => [
      h("div", { class: "two-lines" }, node.id, h("small", null, [node.cluster, node.zone, node.by].filter(Boolean).join(" · "))),
      h("div", { class: "two-lines" }, badge(node.up_to_date ? "healthy" : "unhealthy", node.up_to_date ? "up to date" : "refuses"), h("small", null, refusal(node.rejected))),
      h("div", { class: "two-lines" }, Object.entries(node.types).map(([type, versions]) => h("small", null, `${type}: ${version(versions)}`))),
    ]),
  );
  return nodes > shown.length ? [rows, h("p", { class: "faint" }, `and ${count(nodes - shown.length)} more`)] : rows;
}

function refusal(rejected) {
  return rejected ? `${rejected.type}, ${ago(rejected.at)}: ${rejected.message}` : "";
}
