// The call graph: who calls whom, how much and how well, as a picture and as a table.

import { CachedReader } from "../lib/api.js";
import { h, svg } from "../lib/dom.js";
import { count, plural } from "../lib/format.js";
import { PanZoom } from "../lib/pan_zoom.js";
import { Toolbar, graphUrl, legend, parseFilters, zoomButtons } from "./graph/controls.js";
import { buildModel, filterModel, mostImportant } from "./graph/model.js";
import { Panel } from "./graph/panel.js";
import { drawGraph } from "./graph/picture.js";
import { MAX_ALL, sizeFor } from "./graph/sizes.js";
import { callTable, emptyState } from "./graph/table.js";

const PERIOD = 2_000; // milliseconds between two reads, at least
const FADE_PERIOD = 10_000; // and at most, because rates fade without any event
const DENSE = 1.8; // connections a box, from which on lines are thinner and lighter

export class GraphView {
  title = "Graph";
  #cache;
  #unlisten;
  #timer;
  #reader = new CachedReader("api/graph");
  #abort = new AbortController();
  #readAt = 0;
  #dirty = true;
  #graph = null;
  #model = null;
  #filters = parseFilters(new URLSearchParams());
  #selected = null;
  #shown = new Set();
  #shape = "";
  #positions = new Map();
  #resize = new ResizeObserver(() => this.#render());
  #toolbar = new Toolbar((changes) => this.#apply(changes));
  #picture = svg("svg", { class: "picture", tabindex: 0, role: "group", "aria-label": "Call graph. Move it with the arrow keys, zoom with plus and minus." });
  #panzoom = new PanZoom(this.#picture);
  #panel = new Panel({
    select: (key) => this.#select(key),
    close: () => this.#close(),
    open: (key) => this.#regroup(key, true),
    collapse: (key) => this.#regroup(key, false),
  });
  #more = h("p", { class: "more-boxes", hidden: true });
  #stage = h("div", { class: "stage" }, this.#picture, this.#panel.element);
  #frame = h("div", { class: "frame" }, this.#stage, h("div", { class: "below" }, legend(), this.#more, zoomButtons(this.#panzoom)));
  #empty = h("div", { class: "empty", hidden: true });
  #rows = h("div");

  constructor(cache) {
    this.#cache = cache;
    const asTable = h("details", { class: "card" }, h("summary", null, "Show as a table"), this.#rows);
    this.element = h("section", { class: "view graph" }, this.#toolbar.element, this.#frame, this.#empty, asTable);
    this.#resize.observe(this.#stage);
    // An event may be a call or a change of status.
    this.#unlisten = cache.listen(() => {
      this.#dirty = true;
    });
    this.#timer = setInterval(() => this.#tick(), PERIOD);
    this.#refresh();
  }

  close() {
    this.#abort.abort();
    this.#resize.disconnect();
    clearInterval(this.#timer);
    this.#unlisten();
  }

  /** Show the graph with the filters of the URL's query. */
  open(query) {
    this.#filters = parseFilters(query);
    this.#toolbar.set(this.#filters);
    this.#render();
  }

  focusSearch() {
    this.#toolbar.focus();
  }

  /** Close the panel, else clear the filters; return whether there was anything to do. */
  clear() {
    const { q, failing } = this.#filters;
    if (this.#selected) this.#close();
    else if (q || failing) this.#apply({ q: "", failing: false });
    else return false;
    return true;
  }

  #tick() {
    const due = this.#dirty || performance.now() - this.#readAt > FADE_PERIOD;
    if (due && document.visibilityState === "visible") this.#refresh();
  }

  async #refresh() {
    this.#dirty = false;
    this.#readAt = performance.now();
    try {
      const graph = await this.#reader.read(this.#abort.signal);
      if (!graph) return;
      this.#graph = graph;
      this.#rows.replaceChildren(callTable(graph));
      this.#render();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#dirty = true;
      this.#toolbar.summarize(error.message);
    }
  }

  #apply(changes) {
    Object.assign(this.#filters, changes);
    // In the URL, so that a reload keeps the filters and a link shares them.
    history.replaceState(null, "", graphUrl(this.#filters));
    this.#toolbar.set(this.#filters);
    this.#shown.clear();
    this.#panzoom.touched = false;
    this.#render();
  }

  #capabilitiesOf = (id) => this.#cache.get(id)?.capabilities ?? [];

  #buildModel(open) {
    return buildModel(this.#graph, { by: this.#filters.by, open, capabilitiesOf: this.#capabilitiesOf });
  }

  #render() {
    if (!this.#graph) return;
    this.#model = this.#buildModel(this.#filters.open);
    const visible = filterModel(this.#model, { ...this.#filters, capabilitiesOf: this.#capabilitiesOf });
    this.#summarize(visible);
    this.#frame.hidden = visible.boxes.length === 0;
    this.#empty.hidden = visible.boxes.length > 0;
    if (this.#frame.hidden) {
      this.#empty.replaceChildren(...emptyState(this.#model.connections.size > 0, () => this.#apply({ q: "", failing: false })));
      this.#selected = null;
    }
    const { clientWidth: width, clientHeight: height } = this.#stage;
    if (!width || !height) return;
    const { size, limit } = sizeFor(visible.boxes.length, width, height);
    const boxes = mostImportant(visible, this.#filters.all ? MAX_ALL : limit, this.#shown);
    this.#shown = new Set(boxes.map(({ key }) => key));
    const connections = visible.connections.filter(({ from, to }) => this.#shown.has(from) && this.#shown.has(to));
    this.#offerMore(visible.boxes.length - boxes.length, limit < visible.boxes.length);
    // What fails is drawn last, on top.
    connections.sort((a, b) => b.success - a.success);
    this.#draw(boxes, connections, { size, width, height });
    this.#showPanel();
  }

  #summarize({ boxes, connections, quiet }) {
    const services = boxes.reduce((total, { instances }) => total + instances.length, 0);
    const groups = new Set(boxes.map(({ key, group }) => group?.key ?? key)).size;
    const parts = [`${plural(services, "service")}${groups < services ? ` in ${plural(groups, "group")}` : ""}`, plural(connections.length, "connection")];
    if (quiet) parts.push(`${count(quiet)} without calls`);
    this.#toolbar.summarize(parts.join(" · "));
  }

  /** Say how many boxes are left out, and let the user see them all. */
  #offerMore(hiddenCount, limited) {
    const { all } = this.#filters;
    this.#more.hidden = !limited;
    const button = h("button", { class: "link", type: "button", onclick: () => this.#apply({ all: !all }) }, all ? "Show fewer" : "show all");
    const text = hiddenCount ? `${count(hiddenCount)} more, less busy, are not shown. Filter for them${all ? "." : ", or"}` : "";
    if (this.#more.textContent !== `${text} ${button.textContent}`) this.#more.replaceChildren(text, " ", button);
  }

  #draw(boxes, connections, { size, width, height }) {
    const font = getComputedStyle(this.#picture).fontFamily;
    const dense = connections.length > boxes.length * DENSE;
    const drawing = drawGraph(boxes, connections, { size, width, height, font, dense, select: (key) => this.#select(key) });
    const hovered = this.#picture.querySelector("[data-key]:hover")?.dataset.key;
    const focused = this.#picture.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.#picture.replaceChildren(...drawing.elements);
    for (const element of this.#picture.querySelectorAll(".node, .group, .line")) this.#listen(element);
    const shape = JSON.stringify([width, height, ...drawing.positions.keys()]);
    if (shape !== this.#shape) this.#panzoom.size(drawing.width, drawing.height);
    this.#shape = shape;
    this.#picture.classList.toggle("dense", dense);
    this.#positions = drawing.positions;
    if (focused) this.#elementOf(focused)?.focus();
    this.#highlight(hovered ?? focused ?? this.#selected);
  }

  #listen(element) {
    const { key } = element.dataset;
    const reset = () => this.#highlight(this.#selected);
    element.addEventListener("pointerenter", () => this.#highlight(key));
    element.addEventListener("pointerleave", reset);
    // A listener for the focus would make a line a stop of the Tab key.
    if (element.getAttribute("role") !== "button") return;
    element.addEventListener("blur", reset);
    element.addEventListener("focus", () => {
      this.#highlight(key);
      this.#reveal(key);
    });
  }

  #elementOf(key) {
    return this.#picture.querySelector(`[role="button"][data-key="${CSS.escape(key)}"]`);
  }

  /** Move the picture until a box, or both ends of a line, are beside the panel. */
  #reveal(key) {
    const connection = this.#model.connections.get(key);
    for (const each of connection ? [connection.from, connection.to] : [key]) {
      const box = this.#positions.get(each);
      if (box) this.#panzoom.reveal(box, this.#panel.element.getBoundingClientRect());
    }
  }

  /** Dim all but a box or a group with its neighbours, or a line with its ends; null shows all. */
  #highlight(key) {
    const nodes = [...this.#picture.querySelectorAll(".node")];
    const centre = new Set(nodes.filter(({ dataset }) => dataset.key === key || dataset.group === key).map(({ dataset }) => dataset.key));
    const near = new Set(centre);
    for (const line of this.#picture.querySelectorAll(".line")) {
      const { from, to } = line.dataset;
      const isNear = centre.has(from) || centre.has(to) || line.dataset.key === key;
      line.classList.toggle("near", isNear);
      if (isNear) near.add(from).add(to);
    }
    for (const node of nodes) {
      node.classList.toggle("near", near.has(node.dataset.key));
      node.classList.toggle("selected", node.dataset.key === this.#selected);
    }
    this.#picture.classList.toggle("lit", near.size > 0);
  }

  #select(key) {
    this.#selected = key;
    this.#showPanel();
    this.#highlight(key);
    this.#reveal(key);
    this.#panel.focus();
  }

  #close() {
    const key = this.#selected;
    this.#selected = null;
    this.#showPanel();
    this.#highlight(null);
    if (!this.#panzoom.touched) this.#panzoom.fit();
    (this.#elementOf(key) ?? this.#picture).focus();
  }

  #regroup(key, isOpen) {
    const open = new Set(this.#filters.open);
    if (isOpen) open.add(key);
    else open.delete(key);
    this.#selected = key;
    this.#apply({ open });
    this.#panel.focus();
  }

  #showPanel() {
    const key = this.#selected;
    const { open } = this.#filters;
    // An open group is shown as what it is when closed.
    const opened = open.has(key) ? key : null;
    const model = opened ? this.#buildModel(new Set([...open].filter((each) => each !== key))) : this.#model;
    this.#panel.show({ key, box: model.boxes.get(key), connection: model.connections.get(key), opened }, model);
    if (this.#panel.element.hidden) this.#selected = null;
  }
}
