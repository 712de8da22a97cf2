// The list of capabilities, and the page of one capability with its providers.

import { read } from "../lib/api.js";
import { badge, copyable, h, icon, setText } from "../lib/dom.js";
import { byNumber, count, plural } from "../lib/format.js";
import { VirtualList } from "../lib/virtual_list.js";

const MAX_CHIPS = 4;

export class CapabilitiesView {
  title = "Capabilities";
  #cache;
  #list;
  #search;
  #resultCount = h("p", { class: "found", role: "status" });
  #empty = h("div", { class: "empty", hidden: true });

  constructor(cache) {
    this.#cache = cache;
    this.#search = h("input", {
      type: "search",
      placeholder: "Search capabilities",
      "aria-label": "Search capabilities",
      "aria-keyshortcuts": "/",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => {
        // In the URL, so that a reload keeps the search and a link shares it.
        history.replaceState(null, "", this.href);
        this.#render();
        this.#list.scrollToTop();
      },
    });
    const head = (title) => h("div", { role: "columnheader" }, title);
    this.#list = new VirtualList({
      label: "Capabilities",
      head: h("div", { class: "row", role: "row", "aria-rowindex": 1 }, ["Capability", "Healthy", "Providers"].map(head)),
      renderCells: rowCells,
      key: (capability) => capability.name,
      open: (capability) => {
        location.hash = `#/capabilities/${encodeURIComponent(capability.name)}`;
      },
    });
    this.#list.element.classList.add("of-capabilities");
    this.element = h(
      "section",
      { class: "view fixed" },
      h("h1", { class: "unseen", tabindex: -1 }, "Capabilities"),
      h(
        "div",
        { class: "filters", role: "search" },
        h("span", { class: "field grow" }, icon("search"), this.#search, h("kbd", { "aria-hidden": "true" }, "/")),
        this.#resultCount,
      ),
      this.#list.element,
      this.#empty,
    );
    cache.listen((event) => event === null && this.element.isConnected && this.#render());
  }

  open(query) {
    this.#search.value = query.get("q") ?? "";
    this.#render();
  }

  /** The URL of the list with its current search. */
  get href() {
    const q = this.#search.value;
    return q ? `#/capabilities?${new URLSearchParams({ q })}` : "#/capabilities";
  }

  focusSearch() {
    this.#search.focus();
    this.#search.select();
  }

  focusList() {
    this.#list.focus();
  }

  clear() {
    if (!this.#search.value) return false;
    this.#search.value = "";
    history.replaceState(null, "", this.href);
    this.#render();
    return true;
  }

  #render() {
    const capabilities = byCapability(this.#cache.all());
    const term = this.#search.value.trim().toLowerCase();
    const matching = capabilities.filter(({ name }) => name.toLowerCase().includes(term));
    setText(this.#resultCount, `${count(matching.length)} of ${count(capabilities.length)}`);
    this.#list.element.hidden = matching.length === 0;
    this.#empty.hidden = matching.length > 0;
    if (!matching.length) this.#empty.replaceChildren(...emptyState(this.#cache, capabilities.length));
    this.#list.set(matching);
  }
}

function emptyState({ loaded, problem }, total) {
  if (problem) return [h("h2", null, "Can't load the services"), h("p", null, problem)];
  if (!loaded) return [h("p", null, "Loading services…")];
  if (total) return [h("h2", null, "No capability matches"), h("p", null, "Change the search.")];
  return [
    h("h2", null, "No capabilities yet"),
    h("p", null, "They appear here when services register them. To see some, start a small system that lives for a while:"),
    copyable("modularity-registry demo"),
  ];
}

/** All capabilities each with its providers, sorted by id. */
function byCapability(records) {
  const byName = new Map();
  for (const { service } of records) {
    for (const name of service.capabilities) {
      const capability = byName.get(name);
      if (capability) capability.providers.push(service);
      else byName.set(name, { name, providers: [service] });
    }
  }
  const capabilities = [...byName.values()];
  for (const capability of capabilities) {
    const having = (status) => capability.providers.filter((service) => service.status === status).length;
    capability.healthy = having("healthy");
    capability.warning = having("warning");
    capability.providers.sort((a, b) => byNumber(a.id, b.id));
  }
  // First those that nobody can use, then those of which all warn.
  capabilities.sort((a, b) => usability(a) - usability(b) || byNumber(a.name, b.name));
  return capabilities;
}

const usability = ({ healthy, warning }) => (healthy ? 2 : warning ? 1 : 0);

function stateOf({ healthy, warning, providers }) {
  if (healthy + warning === 0) return "unhealthy";
  if (warning) return "warning";
  return healthy < providers.length ? "draining" : "healthy";
}

function rowCells(capability) {
  const { name, providers, healthy } = capability;
  const cell = (kind, ...children) => h("div", { class: `cell ${kind}`, role: "gridcell" }, ...children);
  const hiddenCount = providers.length - MAX_CHIPS;
  return [
    cell("at-name", h("a", { href: `#/capabilities/${encodeURIComponent(name)}`, tabindex: -1 }, name)),
    cell("at-status", badge(stateOf(capability), `${count(healthy)} of ${count(providers.length)}`)),
    cell(
      "at-capabilities",
      providers.slice(0, MAX_CHIPS).map((service) => h("span", { class: "chip", "data-status": service.status }, service.id)),
      hiddenCount > 0 ? h("span", { class: "more" }, `+${count(hiddenCount)}`) : null,
    ),
  ];
}

/** One capability: for each provider whether it is available, and if not, why. */
export class CapabilityView {
  #name;
  #unlisten;
  #refreshTimer = null;
  #abort = new AbortController();
  #drawnFrom = "";

  constructor(cache, name) {
    this.#name = name;
    this.title = name;
    this.summary = h("p", { class: "subtitle" });
    this.split = h("p", { class: "subtitle", hidden: true });
    this.list = h("ul", { class: "providers" });
    this.element = h(
      "section",
      { class: "view" },
      h("a", { class: "back", href: "#/capabilities" }, icon("back"), "Capabilities"),
      h("div", { class: "heading" }, h("div", null, h("h1", { tabindex: -1 }, name), this.summary, this.split)),
      this.list,
    );
    const concerns = (event) => event === null || (event.event === "capability.split_changed" && event.data.capability === name);
    this.#unlisten = cache.listen((event) => concerns(event) && this.#scheduleRefresh());
    this.#refresh();
  }

  close() {
    this.#abort.abort();
    clearTimeout(this.#refreshTimer);
    this.#unlisten();
  }

  #scheduleRefresh() {
    this.#refreshTimer ??= setTimeout(() => {
      this.#refreshTimer = null;
      this.#refresh();
    }, 200);
  }

  async #refresh() {
    const path = this.#name.split("/").map(encodeURIComponent).join("/");
    try {
      const explanation = await read(`api/capabilities/${path}/explain?limit=1000`, this.#abort.signal);
      this.#render(explanation);
    } catch (error) {
      if (error.name !== "AbortError") this.#render({ providers: [], problem: error.message });
    }
  }

  #render({ providers, problem, next, split }) {
    const data = JSON.stringify([providers, problem, split]);
    if (data === this.#drawnFrom) return;
    this.#drawnFrom = data;
    const available = providers.filter(({ returned }) => returned).length;
    const summary = `${count(available)} of ${plural(providers.length, "provider")} available`;
    setText(this.summary, problem ?? (providers.length ? `${summary}${next ? " (of the first 1,000)" : ""}` : "No service provides this capability."));
    this.split.hidden = !split;
    setText(this.split, split ? `Calls are split: ${shares(split)}` : "");
    const unavailableFirst = [...providers].sort((a, b) => a.returned - b.returned);
    this.list.replaceChildren(...unavailableFirst.map(providerItem));
  }
}

/** The weights of a split as shares of all calls. */
function shares(split) {
  const total = Object.values(split).reduce((sum, weight) => sum + weight, 0);
  return Object.entries(split)
    .map(([group, weight]) => `${group} ${count(Math.round((weight / total) * 1000) / 10)} %`)
    .join(", ");
}

function providerItem({ service_id: id, name, status, reasons, group, second_opinion: disagreement }) {
  return h(
    "li",
    { class: "card" },
    h("a", { href: `#/services/${encodeURIComponent(id)}` }, id, name === id ? null : h("small", null, name)),
    badge(status),
    group ? h("span", { class: "chip" }, `group ${group}`) : null,
    reasons.length ? h("p", null, `Not available: ${reasons.join("; ")}.`) : h("p", { class: "faint" }, "Available"),
    disagreement ? h("p", null, `Replicas disagree: ${disagreement}.`) : null,
  );
}
