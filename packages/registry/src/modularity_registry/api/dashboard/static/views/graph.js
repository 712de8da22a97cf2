// Who calls whom, as a picture and as a table.

import { Reader } from "../lib/api.js";
import { h, icon, s, say, table } from "../lib/dom.js";
import { count, milliseconds, percent, plural } from "../lib/format.js";
import { HEIGHT, WIDTH, layout } from "../lib/graph_layout.js";
import { PanZoom } from "../lib/pan_zoom.js";

const MOST = 60; // services in the picture, the busiest
const ROWS = 200; // in the table
const PERIOD = 2_000; // milliseconds from one reading to the next, at least
const RATES = { good: "At least 99% successful", fair: "At least 90%", poor: "Below 90%" };
const LETTERS = 19; // of a name; the line under it has smaller ones
const SMALL = 21;

export class GraphView {
  title = "Graph";
  #unlisten;
  #timer;
  #reader = new Reader("api/graph");
  #gone = new AbortController();
  #dirty = true;
  #shape = "";
  #picture = s("svg", { class: "picture", tabindex: 0, role: "group", "aria-label": "Call graph. Move it with the arrow keys, zoom with plus and minus." });
  #panzoom = new PanZoom(this.#picture);
  #summary = h("p", { class: "found", role: "status" });
  #rows = h("div");
  #empty = h("div", { class: "empty", hidden: true });

  constructor(model) {
    this.#build();
    // A call, or a change of somebody's status.
    this.#unlisten = model.listen(() => {
      this.#dirty = true;
    });
    this.#timer = setInterval(() => this.#dirty && document.visibilityState === "visible" && this.#look(), PERIOD);
    this.#look();
  }

  close() {
    this.#gone.abort();
    clearInterval(this.#timer);
    this.#unlisten();
  }

  #build() {
    const tool = (label, name, act) => h("button", { class: "icon", type: "button", "aria-label": label, title: label, onclick: act }, icon(name));
    const key = ([rate, words]) => h("li", { "data-rate": rate }, h("i"), words);
    this.frame = h(
      "div",
      { class: "frame" },
      this.#picture,
      h(
        "div",
        { class: "zoom" },
        tool("Zoom in", "plus", () => this.#panzoom.zoom(1.3)),
        tool("Zoom out", "minus", () => this.#panzoom.zoom(1 / 1.3)),
        tool("Show the whole graph", "fit", () => this.#panzoom.fit(true)),
      ),
      h("ul", { class: "legend", "aria-label": "Success rate" }, Object.entries(RATES).map(key)),
    );
    this.element = h(
      "section",
      { class: "view graph" },
      h("div", { class: "heading" }, h("h1", { tabindex: -1 }, "Call graph"), this.#summary),
      this.frame,
      this.#empty,
      h("details", { class: "card" }, h("summary", null, "Show as a table"), this.#rows),
    );
  }

  async #look() {
    this.#dirty = false;
    try {
      const told = await this.#reader.read(this.#gone.signal);
      if (told) this.#show(told);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#dirty = true;
      say(this.#summary, error.message);
    }
  }

  #show({ nodes, edges }) {
    const calls = merged(edges);
    const { chosen, hidden } = busiest(nodes, calls);
    const ids = new Set(chosen.map(({ id }) => id));
    const shown = calls.filter(({ from, to }) => ids.has(from) && ids.has(to));
    const quiet = nodes.length - chosen.length - hidden;
    this.frame.hidden = chosen.length === 0;
    this.#empty.hidden = chosen.length > 0;
    if (chosen.length === 0) this.#empty.replaceChildren(...nobody());
    const words = [plural(chosen.length, "service"), plural(shown.length, "connection")];
    if (hidden) words.push(`showing the busiest, ${count(hidden)} more in the table`);
    if (quiet) words.push(`${count(quiet)} without calls`);
    say(this.#summary, words.join(" · "));
    this.#draw(chosen, shown);
    this.#rows.replaceChildren(list(calls, nodes));
  }

  #draw(nodes, calls) {
    if (nodes.length === 0) return;
    const placed = layout(nodes.map(({ id }) => id), calls);
    const shape = JSON.stringify([...placed.nodes.keys()]);
    const focused = document.activeElement?.dataset?.id;
    const byPair = new Map(calls.map((call) => [pair(call), call]));
    const lines = placed.edges.map((edge) => line(edge, byPair.get(pair(edge))));
    const boxes = nodes.map((node) => this.#box(node, placed.nodes.get(node.id)));
    this.#picture.replaceChildren(heads(), s("g", { class: "lines" }, lines), s("g", { class: "boxes" }, boxes));
    if (shape !== this.#shape) this.#panzoom.size(placed.width, placed.height);
    this.#shape = shape;
    if (focused) boxes.find((box) => box.dataset.id === focused)?.focus();
  }

  #box(node, { x, y }) {
    const name = node.name ?? node.id;
    const status = node.registered ? node.status : "unknown";
    const word = node.registered ? node.status : "not registered";
    // Several may have one name, so the id is told, and whatever is not as it should be.
    const state = [word === "healthy" ? "" : word, name === node.id ? "" : node.id].filter(Boolean).join(" · ");
    const link = s(
      "a",
      { class: "node", href: `#/services/${encodeURIComponent(node.id)}`, "data-status": status, "data-id": node.id, "aria-label": `${name}, ${word}` },
      s("title", null, `${name} (${node.id}), ${word}`),
      s("rect", { x: x - WIDTH / 2, y: y - HEIGHT / 2, width: WIDTH, height: HEIGHT, rx: 9 }),
      s("rect", { class: "side", x: x - WIDTH / 2 + 8, y: y - 12, width: 4, height: 24, rx: 2 }),
      s("text", { class: "name", x: x - WIDTH / 2 + 22, y: y - 3 }, short(name, LETTERS)),
      s("text", { class: "state", x: x - WIDTH / 2 + 22, y: y + 14 }, short(state, SMALL)),
    );
    const light = (on) => () => this.#light(on ? node.id : null);
    link.addEventListener("pointerenter", light(true));
    link.addEventListener("pointerleave", light(false));
    link.addEventListener("blur", light(false));
    link.addEventListener("focus", () => {
      this.#light(node.id);
      this.#panzoom.reveal(x, y);
    });
    return link;
  }

  /** Show who has to do with one service; with null everyone again. */
  #light(id) {
    this.#picture.classList.toggle("lit", id !== null);
    const near = new Set([id]);
    for (const each of this.#picture.querySelectorAll(".line")) {
      const { from, to } = each.dataset;
      const concerned = from === id || to === id;
      each.classList.toggle("near", concerned);
      if (concerned) near.add(from).add(to);
    }
    for (const each of this.#picture.querySelectorAll(".node")) each.classList.toggle("near", near.has(each.dataset.id));
  }
}

const pair = ({ from, to }) => JSON.stringify([from, to]);
const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const rated = (share) => (share >= 0.99 ? "good" : share >= 0.9 ? "fair" : "poor");

/** One connection for each pair, whatever the capabilities. */
function merged(edges) {
  const found = new Map();
  for (const { from, to, capability, weight, success_rate: rate, avg_latency_ms: latency } of edges) {
    const key = pair({ from, to });
    const known = found.get(key) ?? { from, to, weight: 0, good: 0, capabilities: [] };
    known.weight += weight;
    known.good += weight * rate;
    known.capabilities.push({ capability, weight, rate, latency });
    found.set(key, known);
  }
  return [...found.values()].map((each) => ({ ...each, rate: each.good / each.weight })).sort((a, b) => b.weight - a.weight);
}

function busiest(nodes, calls) {
  const weights = new Map();
  for (const { from, to, weight } of calls) {
    for (const id of new Set([from, to])) weights.set(id, (weights.get(id) ?? 0) + weight);
  }
  const busy = nodes.filter(({ id }) => weights.has(id));
  busy.sort((a, b) => weights.get(b.id) - weights.get(a.id) || (a.id < b.id ? -1 : 1));
  return { chosen: busy.slice(0, MOST), hidden: Math.max(0, busy.length - MOST) };
}

function heads() {
  const head = (rate) =>
    s(
      "marker",
      { id: `head-${rate}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto", "data-rate": rate },
      s("path", { d: "M0 .5L8 4L0 7.5z" }),
    );
  return s("defs", null, Object.keys(RATES).map(head));
}

function line(edge, call) {
  const rate = rated(call.rate);
  const words = call.capabilities.map((each) => `${each.capability}: ${plural(each.weight, "call")}, ${percent(each.rate)} successful, latency ${milliseconds(each.latency)}`);
  const d = curve(edge);
  return s(
    "g",
    { class: "line", "data-rate": rate, "data-from": edge.from, "data-to": edge.to },
    s("title", null, [`${edge.from} calls ${edge.to}`, ...words].join("\n")),
    s("path", { class: "reach", d }),
    s("path", { class: "stroke", d, "stroke-width": (1.2 + Math.log10(call.weight + 1) * 0.9).toFixed(2), "marker-end": `url(#head-${rate})` }),
  );
}

/** A smooth line through the points of an edge. */
function curve({ points, turned }) {
  const half = WIDTH / 2;
  if (points.length === 1) {
    const [{ x, y }] = points;
    return `M${x + half - 24} ${y - HEIGHT / 2}c-8 -26 36 -26 24 0l-4 2`;
  }
  const last = points.length - 1;
  const side = turned ? -1 : 1;
  const at = points.map(({ x, y }, index) => {
    if (index === 0) return [x + side * half, y];
    return index === last ? [x - side * (half + 2), y] : [x, y];
  });
  let d = `M${at[0].join(" ")}`;
  for (let index = 1; index < at.length; index += 1) {
    const [x0, y0] = at[index - 1];
    const [x1, y1] = at[index];
    const bend = (x1 - x0) / 2;
    d += `C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`;
  }
  return d;
}

function list(calls, nodes) {
  const names = new Map(nodes.map(({ id, name }) => [id, name ?? id]));
  const rows = calls.flatMap(({ from, to, capabilities }) => capabilities.map((each) => ({ from, to, ...each })));
  rows.sort((a, b) => b.weight - a.weight);
  const link = (id) => h("a", { href: `#/services/${encodeURIComponent(id)}` }, names.get(id) ?? id);
  return table(
    "Connections",
    ["Caller", "Provider", "Capability", "Calls", "Success", "Latency"],
    rows.slice(0, ROWS).map((each) => [
      link(each.from),
      link(each.to),
      each.capability,
      count(each.weight),
      h("span", { class: "rate", "data-rate": rated(each.rate) }, percent(each.rate)),
      milliseconds(each.latency),
    ]),
  );
}

function nobody() {
  return [
    h("h2", null, "No calls reported yet"),
    h("p", null, "Services report calls with ", h("code", null, "POST /api/track/invocation"), ". The graph shows the last hour."),
  ];
}
