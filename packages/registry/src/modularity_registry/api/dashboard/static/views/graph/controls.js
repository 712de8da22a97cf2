// What is around the graph's picture: filters, which the URL keeps, legend and buttons.

import { h, icon, setText } from "../../lib/dom.js";
import { GROUPINGS } from "./model.js";

const LEVELS = { good: "At least 99% succeed", fair: "Under 99%", poor: "Under 90%, or unhealthy" };

/** The filters of a URL's query: `q`, `by`, `failing`, `all` and `open`, a set of groups. */
export function parseFilters(query) {
  const by = query.get("by") ?? "";
  return {
    q: query.get("q") ?? "",
    by: Object.hasOwn(GROUPINGS, by) ? by : "name",
    failing: query.get("failing") === "1",
    all: query.get("all") === "1",
    open: new Set(query.getAll("open")),
  };
}

/** The URL of the graph with these filters. */
export function graphUrl({ q, by, failing, all, open }) {
  const entries = [["q", q], ["by", by === "name" ? "" : by], ["failing", failing ? "1" : ""], ["all", all ? "1" : ""]];
  for (const key of open) entries.push(["open", key]);
  const query = new URLSearchParams(entries.filter(([, value]) => value)).toString();
  return `#/graph${query ? `?${query}` : ""}`;
}

/** The row above the picture. `apply(changes)` is called when the user changes a filter. */
export class Toolbar {
  #search;
  #by;
  #failing;
  #summary = h("p", { class: "found", role: "status" });

  constructor(apply) {
    this.#search = h("input", {
      type: "search",
      placeholder: "Filter by name, ID, capability…",
      "aria-label": "Filter the graph",
      "aria-keyshortcuts": "/",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => apply({ q: this.#search.value }),
    });
    const options = Object.entries(GROUPINGS).map(([value, label]) => h("option", { value }, label));
    // Groups of another kind are not known to be open.
    this.#by = h("select", { "aria-label": "Group by", onchange: () => apply({ by: this.#by.value, open: new Set() }) }, options);
    this.#failing = h("input", { type: "checkbox", onchange: () => apply({ failing: this.#failing.checked }) });
    this.element = h(
      "div",
      { class: "filters", role: "search" },
      h("h1", { tabindex: -1 }, "Call graph"),
      h("span", { class: "field grow" }, icon("search"), this.#search, h("kbd", { "aria-hidden": "true" }, "/")),
      this.#by,
      h("label", { class: "check" }, this.#failing, "Failing only"),
      this.#summary,
    );
  }

  set({ q, by, failing }) {
    if (this.#search.value !== q) this.#search.value = q;
    this.#by.value = by;
    this.#failing.checked = failing;
  }

  summarize(text) {
    setText(this.#summary, text);
  }

  focus() {
    this.#search.focus();
    this.#search.select();
  }
}

export function legend() {
  const entry = ([level, label]) => h("li", { "data-level": level }, h("i"), label);
  return h("ul", { class: "legend", "aria-label": "Lines" }, Object.entries(LEVELS).map(entry));
}

export function zoomButtons(panzoom) {
  const tool = (label, name, onclick) => h("button", { class: "icon", type: "button", "aria-label": label, title: label, onclick }, icon(name));
  return h(
    "div",
    { class: "zoom" },
    tool("Zoom in", "plus", () => panzoom.zoom(1.3)),
    tool("Zoom out", "minus", () => panzoom.zoom(1 / 1.3)),
    tool("Show the whole graph", "fit", () => panzoom.fit(true)),
  );
}
