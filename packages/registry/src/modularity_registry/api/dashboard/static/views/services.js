// The list of all services, with search, filters and sorting.

import { badge, copyable, h, icon, mark, setText } from "../lib/dom.js";
import { byNumber, count, dateTime, urgency } from "../lib/format.js";
import { VirtualList } from "../lib/virtual_list.js";

const STATUSES = ["healthy", "warning", "unhealthy", "draining"];
const STATUS_LABELS = { "": "All", healthy: "Healthy", warning: "Warning", unhealthy: "Unhealthy", draining: "Draining" };
const MODES = ["http", "tcp", "grpc", "embedded", "standalone", "ipc"];
const COLUMNS = {
  status: { title: "Status", sortKey: (record) => urgency(record.service.status) },
  name: { title: "Service", sortKey: (record) => record.service.id },
  capabilities: { title: "Capabilities", sortKey: (record) => record.service.capabilities.join() },
  location: { title: "Location", sortKey: (record) => `${record.service.mode} ${record.service.location}` },
  registered: { title: "Registered", sortKey: (record) => record.service.registered_at },
};
const SORT = "status"; // by default, so that trouble is in sight
const MAX_CHIPS = 3; // capabilities shown in a row
const MAX_SUGGESTIONS = 500; // capabilities that the filter suggests

export class ServicesView {
  title = "Services";
  #cache;
  #filters = { q: "", status: "", mode: "", capability: "", sort: SORT, down: "" };
  #sorted = null;
  #sortedBy = "";
  #list;
  #parts = {};

  constructor(cache) {
    this.#cache = cache;
    this.#build();
    cache.listen((event) => event === null && this.element.isConnected && this.#render());
  }

  /** Show the list with the filters of the URL's query. */
  open(query) {
    for (const name of Object.keys(this.#filters)) {
      this.#filters[name] = query.get(name) ?? (name === "sort" ? SORT : "");
    }
    if (!Object.hasOwn(COLUMNS, this.#filters.sort)) this.#filters.sort = SORT;
    const { search, mode, capability, sort } = this.#parts;
    search.value = this.#filters.q;
    mode.value = this.#filters.mode;
    capability.value = this.#filters.capability;
    sort.value = this.#filters.sort;
    this.#render();
  }

  /** The URL of the list with its current filters. */
  get href() {
    return `#/services${this.#queryString()}`;
  }

  focusSearch() {
    this.#parts.search.focus();
    this.#parts.search.select();
  }

  focusList() {
    this.#list.focus();
  }

  /** Clear all filters; return whether there were any. */
  clear() {
    const { q, status, mode, capability } = this.#filters;
    if (!(q || status || mode || capability)) return false;
    this.#applyFilters({ q: "", status: "", mode: "", capability: "" });
    this.open(new URLSearchParams(this.#queryString()));
    return true;
  }

  #build() {
    const search = h("input", {
      type: "search",
      placeholder: "Search by name, ID, metadata…",
      "aria-label": "Search services",
      "aria-keyshortcuts": "/",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.#applyFilters({ q: search.value }),
    });
    const mode = this.#select("Mode", { "": "Any mode", ...Object.fromEntries(MODES.map((name) => [name, name])) }, "mode");
    const suggestions = h("datalist", { id: "known-capabilities" });
    const capability = h("input", {
      list: "known-capabilities",
      placeholder: "Capability",
      "aria-label": "Capability",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.#applyFilters({ capability: capability.value.trim() }),
      onfocus: () => this.#suggest(suggestions),
    });
    const titles = Object.entries(COLUMNS).map(([name, column]) => [name, `By ${column.title.toLowerCase()}`]);
    const sort = this.#select("Sort", Object.fromEntries(titles), "sort");
    sort.classList.add("narrow-only");
    const resultCount = h("p", { class: "found", role: "status" });
    const empty = h("div", { class: "empty", hidden: true });
    this.#parts = { search, mode, capability, sort, resultCount, empty, tiles: this.#tiles(), headers: this.#columnHeaders() };
    this.#list = new VirtualList({
      label: "Services",
      head: h("div", { class: "row", role: "row", "aria-rowindex": 1 }, Object.values(this.#parts.headers)),
      renderCells: (record) => rowCells(record.service),
      key: (record) => record.service.id,
      open: (record) => {
        location.hash = `#/services/${encodeURIComponent(record.service.id)}`;
      },
    });
    this.element = h(
      "section",
      { class: "view fixed" },
      h("h1", { class: "unseen", tabindex: -1 }, "Services"),
      h("div", { class: "tiles", role: "group", "aria-label": "Status" }, Object.values(this.#parts.tiles)),
      h(
        "div",
        { class: "filters", role: "search" },
        h("span", { class: "field grow" }, icon("search"), search, h("kbd", { "aria-hidden": "true" }, "/")),
        capability,
        suggestions,
        mode,
        sort,
        resultCount,
      ),
      this.#list.element,
      empty,
    );
  }

  #select(label, options, name) {
    return h(
      "select",
      { "aria-label": label, onchange: (event) => this.#applyFilters({ [name]: event.target.value }) },
      Object.entries(options).map(([value, text]) => h("option", { value }, text)),
    );
  }

  #tiles() {
    const tile = (status) =>
      h(
        "button",
        {
          class: "tile",
          type: "button",
          "data-status": status,
          onclick: () => this.#applyFilters({ status: this.#filters.status === status ? "" : status }),
        },
        h("span", null, status ? mark(status) : null, STATUS_LABELS[status]),
        h("b", null, "–"),
      );
    return Object.fromEntries(["", ...STATUSES].map((status) => [status, tile(status)]));
  }

  #columnHeaders() {
    const head = ([name, { title }]) => [
      name,
      h(
        "div",
        { role: "columnheader" },
        h("button", { type: "button", onclick: () => this.#sortBy(name) }, title),
      ),
    ];
    return Object.fromEntries(Object.entries(COLUMNS).map(head));
  }

  #suggest(suggestions) {
    const names = new Set(this.#cache.all().flatMap((record) => record.service.capabilities));
    const first = [...names].sort().slice(0, MAX_SUGGESTIONS);
    suggestions.replaceChildren(...first.map((value) => h("option", { value })));
  }

  #sortBy(name) {
    const descending = this.#filters.sort === name && !this.#filters.down;
    this.#applyFilters({ sort: name, down: descending ? "1" : "" });
  }

  #applyFilters(changes) {
    Object.assign(this.#filters, changes);
    // In the URL, so that a reload keeps the filters and a link shares them.
    history.replaceState(null, "", this.href);
    this.#render();
    this.#list.scrollToTop();
  }

  #queryString() {
    const filters = Object.entries(this.#filters).filter(([name, value]) => value && !(name === "sort" && value === SORT));
    const query = new URLSearchParams(filters).toString();
    return query ? `?${query}` : "";
  }

  #render() {
    const startedAt = performance.now();
    const records = this.#sortedRecords();
    const matching = records.filter(this.#matcher());
    this.#list.set(matching);
    this.#renderSummary(records, matching);
    performance.measure("filter", { start: startedAt });
  }

  #sortedRecords() {
    const { sort, down } = this.#filters;
    const sortState = `${this.#cache.version} ${sort} ${down}`;
    if (this.#sortedBy !== sortState) {
      const { sortKey } = COLUMNS[sort];
      const sign = down ? -1 : 1;
      const keyed = this.#cache.all().map((record) => ({ record, key: sortKey(record) }));
      keyed.sort((a, b) => sign * byNumber(a.key, b.key) || byNumber(a.record.service.id, b.record.service.id));
      this.#sorted = keyed.map(({ record }) => record);
      this.#sortedBy = sortState;
    }
    return this.#sorted;
  }

  #matcher() {
    const { q, status, mode, capability } = this.#filters;
    const part = capability.toLowerCase();
    const terms = q.toLowerCase().split(/\s+/).filter(Boolean);
    return ({ service, searchText }) =>
      (!status || service.status === status) &&
      (!mode || service.mode === mode) &&
      (!part || service.capabilities.some((name) => name.toLowerCase().includes(part))) &&
      terms.every((term) => searchText.includes(term));
  }

  #renderSummary(records, matching) {
    const { resultCount, empty, tiles, headers } = this.#parts;
    const counts = { "": records.length, healthy: 0, warning: 0, unhealthy: 0, draining: 0 };
    for (const { service } of records) counts[service.status] += 1;
    const { loaded, problem } = this.#cache;
    for (const [status, tile] of Object.entries(tiles)) {
      setText(tile.lastChild, loaded ? count(counts[status]) : "–");
      tile.setAttribute("aria-pressed", this.#filters.status === status);
    }
    for (const [name, head] of Object.entries(headers)) {
      const order = this.#filters.down ? "descending" : "ascending";
      head.setAttribute("aria-sort", this.#filters.sort === name ? order : "none");
    }
    setText(resultCount, loaded ? `${count(matching.length)} of ${count(records.length)}` : "");
    empty.hidden = matching.length > 0;
    this.#list.element.hidden = matching.length === 0;
    if (matching.length === 0) empty.replaceChildren(...emptyState(loaded, problem, records.length, () => this.clear()));
  }
}

function emptyState(loaded, problem, total, clear) {
  if (problem) return [h("h2", null, "Can't load the services"), h("p", null, problem)];
  if (!loaded) return [h("p", null, "Loading services…")];
  if (total) {
    return [
      h("h2", null, "No service matches"),
      h("p", null, "Change the search or the filters."),
      h("button", { class: "button", type: "button", onclick: clear }, "Show all services"),
    ];
  }
  return [
    h("h2", null, "No service is registered yet"),
    h("p", null, "Services appear here when they register. To see some, start a small system that lives for a while:"),
    copyable("modularity-registry demo"),
  ];
}

function rowCells(service) {
  const cell = (name, ...children) => h("div", { class: `cell ${name}`, role: "gridcell" }, ...children);
  const hiddenCount = service.capabilities.length - MAX_CHIPS;
  const href = `#/services/${encodeURIComponent(service.id)}`;
  const name = service.name === service.id ? "" : `${service.name} · `;
  const chips = [
    service.capabilities.slice(0, MAX_CHIPS).map((capability) => h("span", { class: "chip" }, capability)),
    hiddenCount > 0 ? h("span", { class: "more" }, `+${hiddenCount}`) : null,
  ];
  const reason = service.status_reason;
  return [
    cell("at-status", badge(service.status)),
    cell("at-name", h("a", { href, tabindex: -1 }, service.id), h("small", null, `${name}${service.version}`)),
    reason ? cell("at-capabilities at-reason", h("span", { title: reason }, reason)) : cell("at-capabilities", chips),
    cell("at-location", h("span", { class: "mode" }, service.mode), h("small", null, service.location)),
    cell("at-registered", h("small", null, dateTime(service.registered_at))),
  ];
}
