// The call graph, as a picture and as a table.

import { CachedReader } from "../lib/api.js";
import { h, icon, setText, svg, table } from "../lib/dom.js";
import { count, milliseconds, percent, plural } from "../lib/format.js";
import { HEIGHT, WIDTH, layout } from "../lib/graph_layout.js";
import { PanZoom } from "../lib/pan_zoom.js";

const MAX_NODES = 60; // the busiest services are drawn
const MAX_ROWS = 200; // in the table
const PERIOD = 2_000; // milliseconds between two reads, at least
const RATES = { good: "At least 99% successful", fair: "At least 90%", poor: "Below 90%" };
const MAX_NAME = 19; // letters of a name; the line below it has a smaller font
const MAX_STATE = 21;

export class GraphView {
  title = "Graph";
  #unlisten;
  #timer;
  #reader = new CachedReader("api/graph");
  #abort = new AbortController();
  #dirty = true;
  #shape = "";
  #picture = svg("svg", { class: "picture", tabindex: 0, role: "group", "aria-label": "Call graph. Move it with the arrow keys, zoom with plus and minus." });
  #panzoom = new PanZoom(this.#picture);
  #summary = h("p", { class: "found", role: "status" });
  #rows = h("div");
  #empty = h("div", { class: "empty", hidden: true });

  constructor(cache) {
    this.#build();
    // An event may be a call or a change of status.
    this.#unlisten = cache.listen(() => {
      this.#dirty = true;
    });
    this.#timer = setInterval(() => this.#dirty && document.visibilityState === "visible" && this.#refresh(), PERIOD);
    this.#refresh();
  }

  close() {
    this.#abort.abort();
    clearInterval(this.#timer);
    this.#unlisten();
  }

  #build() {
    const tool = (label, name, action) => h("button", { class: "icon", type: "button", "aria-label": label, title: label, onclick: action }, icon(name));
    const key = ([rate, label]) => h("li", { "data-rate": rate }, h("i"), label);
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

  async #refresh() {
    this.#dirty = false;
    try {
      const graph = await this.#reader.read(this.#abort.signal);
      if (graph) this.#render(graph);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#dirty = true;
      setText(this.#summary, error.message);
    }
  }

  #render({ nodes, edges }) {
    const calls = mergeEdges(edges);
    const { busy, hiddenCount } = busiestNodes(nodes, calls);
    const ids = new Set(busy.map(({ id }) => id));
    const visibleCalls = calls.filter(({ from, to }) => ids.has(from) && ids.has(to));
    const quietCount = nodes.length - busy.length - hiddenCount;
    this.frame.hidden = busy.length === 0;
    this.#empty.hidden = busy.length > 0;
    if (busy.length === 0) this.#empty.replaceChildren(...emptyState());
    const parts = [plural(busy.length, "service"), plural(visibleCalls.length, "connection")];
    if (hiddenCount) parts.push(`showing the busiest, ${count(hiddenCount)} more in the table`);
    if (quietCount) parts.push(`${count(quietCount)} without calls`);
    setText(this.#summary, parts.join(" · "));
    this.#draw(busy, visibleCalls);
    this.#rows.replaceChildren(callTable(calls, nodes));
  }

  #draw(nodes, calls) {
    if (nodes.length === 0) return;
    const drawing = layout(nodes.map(({ id }) => id), calls);
    const shape = JSON.stringify([...drawing.nodes.keys()]);
    const focused = document.activeElement?.dataset?.id;
    const byPair = new Map(calls.map((call) => [pair(call), call]));
    const edgeElements = drawing.edges.map((edge) => edgeElement(edge, byPair.get(pair(edge))));
    const nodeElements = nodes.map((node) => this.#nodeElement(node, drawing.nodes.get(node.id)));
    this.#picture.replaceChildren(arrowHeads(), svg("g", { class: "lines" }, edgeElements), svg("g", { class: "boxes" }, nodeElements));
    if (shape !== this.#shape) this.#panzoom.size(drawing.width, drawing.height);
    this.#shape = shape;
    if (focused) nodeElements.find((box) => box.dataset.id === focused)?.focus();
  }

  #nodeElement(node, { x, y }) {
    const name = node.name ?? node.id;
    const status = node.registered ? node.status : "unknown";
    const statusLabel = node.registered ? node.status : "not registered";
    // Services may share a name, so show the id too, and any status but healthy.
    const state = [statusLabel === "healthy" ? "" : statusLabel, name === node.id ? "" : node.id].filter(Boolean).join(" · ");
    const link = svg(
      "a",
      { class: "node", href: `#/services/${encodeURIComponent(node.id)}`, "data-status": status, "data-id": node.id, "aria-label": `${name}, ${statusLabel}` },
      svg("title", null, `${name} (${node.id}), ${statusLabel}`),
      svg("rect", { x: x - WIDTH / 2, y: y - HEIGHT / 2, width: WIDTH, height: HEIGHT, rx: 9 }),
      svg("rect", { class: "side", x: x - WIDTH / 2 + 8, y: y - 12, width: 4, height: 24, rx: 2 }),
      svg("text", { class: "name", x: x - WIDTH / 2 + 22, y: y - 3 }, truncate(name, MAX_NAME)),
      svg("text", { class: "state", x: x - WIDTH / 2 + 22, y: y + 14 }, truncate(state, MAX_STATE)),
    );
    const highlight = (on) => () => this.#highlight(on ? node.id : null);
    link.addEventListener("pointerenter", highlight(true));
    link.addEventListener("pointerleave", highlight(false));
    link.addEventListener("blur", highlight(false));
    link.addEventListener("focus", () => {
      this.#highlight(node.id);
      this.#panzoom.reveal(x, y);
    });
    return link;
  }

  /** Dim everything but this service, its callers and its providers; null shows all again. */
  #highlight(id) {
    this.#picture.classList.toggle("lit", id !== null);
    const near = new Set([id]);
    for (const line of this.#picture.querySelectorAll(".line")) {
      const { from, to } = line.dataset;
      const isAdjacent = from === id || to === id;
      line.classList.toggle("near", isAdjacent);
      if (isAdjacent) near.add(from).add(to);
    }
    for (const node of this.#picture.querySelectorAll(".node")) node.classList.toggle("near", near.has(node.dataset.id));
  }
}

const pair = ({ from, to }) => JSON.stringify([from, to]);
const truncate = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
const rateClass = (share) => (share >= 0.99 ? "good" : share >= 0.9 ? "fair" : "poor");

/** One connection for each caller and provider, busiest first, with its capabilities. */
function mergeEdges(edges) {
  const merged = new Map();
  for (const { from, to, capability, weight, success_rate: rate, avg_latency_ms: latency } of edges) {
    const key = pair({ from, to });
    const call = merged.get(key) ?? { from, to, weight: 0, good: 0, capabilities: [] };
    call.weight += weight;
    call.good += weight * rate;
    call.capabilities.push({ capability, weight, rate, latency });
    merged.set(key, call);
  }
  return [...merged.values()].map((call) => ({ ...call, rate: call.good / call.weight })).sort((a, b) => b.weight - a.weight);
}

function busiestNodes(nodes, calls) {
  const weights = new Map();
  for (const { from, to, weight } of calls) {
    for (const id of new Set([from, to])) weights.set(id, (weights.get(id) ?? 0) + weight);
  }
  const busy = nodes.filter(({ id }) => weights.has(id));
  busy.sort((a, b) => weights.get(b.id) - weights.get(a.id) || (a.id < b.id ? -1 : 1));
  return { busy: busy.slice(0, MAX_NODES), hiddenCount: Math.max(0, busy.length - MAX_NODES) };
}

function arrowHeads() {
  const arrowHead = (rate) =>
    svg(
      "marker",
      { id: `head-${rate}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto", "data-rate": rate },
      svg("path", { d: "M0 .5L8 4L0 7.5z" }),
    );
  return svg("defs", null, Object.keys(RATES).map(arrowHead));
}

function edgeElement(edge, call) {
  const rate = rateClass(call.rate);
  const parts = call.capabilities.map((entry) => `${entry.capability}: ${plural(entry.weight, "call")}, ${percent(entry.rate)} successful, latency ${milliseconds(entry.latency)}`);
  const d = curve(edge);
  return svg(
    "g",
    { class: "line", "data-rate": rate, "data-from": edge.from, "data-to": edge.to },
    svg("title", null, [`${edge.from} calls ${edge.to}`, ...parts].join("\n")),
    svg("path", { class: "reach", d }),
    svg("path", { class: "stroke", d, "stroke-width": (1.2 + Math.log10(call.weight + 1) * 0.9).toFixed(2), "marker-end": `url(#head-${rate})` }),
  );
}

/** A smooth line through the points of an edge. */
function curve({ points, reversed }) {
  const half = WIDTH / 2;
  if (points.length === 1) {
    const [{ x, y }] = points;
    return `M${x + half - 24} ${y - HEIGHT / 2}c-8 -26 36 -26 24 0l-4 2`;
  }
  const last = points.length - 1;
  const side = reversed ? -1 : 1;
  const corners = points.map(({ x, y }, index) => {
    if (index === 0) return [x + side * half, y];
    return index === last ? [x - side * (half + 2), y] : [x, y];
  });
  let d = `M${corners[0].join(" ")}`;
  for (let index = 1; index < corners.length; index += 1) {
    const [x0, y0] = corners[index - 1];
    const [x1, y1] = corners[index];
    const bend = (x1 - x0) / 2;
    d += `C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`;
  }
  return d;
}

function callTable(calls, nodes) {
  const names = new Map(nodes.map(({ id, name }) => [id, name ?? id]));
  const rows = calls.flatMap(({ from, to, capabilities }) => capabilities.map((entry) => ({ from, to, ...entry })));
  rows.sort((a, b) => b.weight - a.weight);
  const link = (id) => h("a", { href: `#/services/${encodeURIComponent(id)}` }, names.get(id) ?? id);
  return table(
    "Connections",
    ["Caller", "Provider", "Capability", "Calls", "Success", "Latency"],
    rows.slice(0, MAX_ROWS).map((entry) => [
      link(entry.from),
      link(entry.to),
      entry.capability,
      count(entry.weight),
      h("span", { class: "rate", "data-rate": rateClass(entry.rate) }, percent(entry.rate)),
      milliseconds(entry.latency),
    ]),
  );
}

function emptyState() {
  return [
    h("h2", null, "No calls reported yet"),
    h("p", null, "Services report calls with ", h("code", null, "POST /api/track/invocation"), ". The graph shows the last hour."),
  ];
}
