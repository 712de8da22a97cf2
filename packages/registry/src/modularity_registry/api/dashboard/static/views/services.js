// The list of all services: found by words, narrowed by status, mode and capability.

import { badge, h, icon, mark, say } from "../lib/dom.js";
import { count, moment } from "../lib/format.js";
import { Windowed } from "../lib/virtual_list.js";

const STATUSES = ["healthy", "unhealthy", "draining"];
const WORDS = { "": "All", healthy: "Healthy", unhealthy: "Unhealthy", draining: "Draining" };
const MODES = ["http", "tcp", "grpc", "embedded", "standalone", "ipc"];
// What needs somebody comes first.
const URGENCY = { unhealthy: 0, draining: 1, healthy: 2 };
const COLUMNS = {
  status: { title: "Status", of: (each) => URGENCY[each.service.status] },
  name: { title: "Service", of: (each) => each.name },
  capabilities: { title: "Capabilities", of: (each) => each.service.capabilities.join().toLowerCase() },
  location: { title: "Location", of: (each) => `${each.service.mode} ${each.service.location}` },
  registered: { title: "Registered", of: (each) => each.service.registered_at },
};
const SHOWN = 3; // capabilities in a row, the rest as a number
const OFFERED = 500; // capabilities that the field suggests

export class ServicesView {
  title = "Services";
  #model;
  #wanted = { q: "", status: "", mode: "", capability: "", sort: "name", down: "" };
  #sorted = null;
  #sortedOf = "";
  #list;
  #parts = {};

  constructor(model) {
    this.#model = model;
    this.#build();
    model.listen((event) => event === null && this.element.isConnected && this.#show());
  }

  /** Show what the address asks for. */
  open(query) {
    for (const name of Object.keys(this.#wanted)) {
      this.#wanted[name] = query.get(name) ?? (name === "sort" ? "name" : "");
    }
    if (!Object.hasOwn(COLUMNS, this.#wanted.sort)) this.#wanted.sort = "name";
    const { search, mode, capability, sort } = this.#parts;
    search.value = this.#wanted.q;
    mode.value = this.#wanted.mode;
    capability.value = this.#wanted.capability;
    sort.value = this.#wanted.sort;
    this.#show();
  }

  /** The address that shows the list as it is now. */
  get href() {
    return `#/services${this.#address()}`;
  }

  focusSearch() {
    this.#parts.search.focus();
    this.#parts.search.select();
  }

  focusList() {
    this.#list.focus();
  }

  /** Leave nothing out any more; say whether anything was. */
  clear() {
    const { q, status, mode, capability } = this.#wanted;
    if (!(q || status || mode || capability)) return false;
    this.#narrow({ q: "", status: "", mode: "", capability: "" });
    this.open(new URLSearchParams(this.#address()));
    return true;
  }

  #build() {
    const search = h("input", {
      type: "search",
      placeholder: "Search by ID, name, capability or metadata",
      "aria-label": "Search services",
      "aria-keyshortcuts": "/",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.#narrow({ q: search.value }),
    });
    const mode = this.#select("Mode", { "": "Any mode", ...Object.fromEntries(MODES.map((each) => [each, each])) }, "mode");
    const known = h("datalist", { id: "known-capabilities" });
    const capability = h("input", {
      list: "known-capabilities",
      placeholder: "Capability",
      "aria-label": "Capability",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.#narrow({ capability: capability.value.trim() }),
      onfocus: () => this.#suggest(known),
    });
    const titles = Object.entries(COLUMNS).map(([name, column]) => [name, `By ${column.title.toLowerCase()}`]);
    const sort = this.#select("Sort", Object.fromEntries(titles), "sort");
    sort.classList.add("narrow-only");
    const found = h("p", { class: "found", role: "status" });
    const empty = h("div", { class: "empty", hidden: true });
    this.#parts = { search, mode, capability, sort, found, empty, tiles: this.#tiles(), heads: this.#heads() };
    this.#list = new Windowed({
      label: "Services",
      head: h("div", { class: "row", role: "row", "aria-rowindex": 1 }, Object.values(this.#parts.heads)),
      draw: (each) => cells(each.service),
      key: (each) => each.service.id,
      open: (each) => {
        location.hash = `#/services/${encodeURIComponent(each.service.id)}`;
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
        known,
        mode,
        sort,
        found,
      ),
      this.#list.element,
      empty,
    );
  }

  #select(label, options, name) {
    const select = h(
      "select",
      { "aria-label": label, onchange: () => this.#narrow({ [name]: select.value }) },
      Object.entries(options).map(([value, text]) => h("option", { value }, text)),
    );
    return select;
  }

  #tiles() {
    const tile = (status) =>
      h(
        "button",
        {
          class: "tile",
          type: "button",
          "data-status": status,
          onclick: () => this.#narrow({ status: this.#wanted.status === status ? "" : status }),
        },
        h("span", null, status ? mark(status) : null, WORDS[status]),
        h("b", null, "–"),
      );
    return Object.fromEntries(["", ...STATUSES].map((status) => [status, tile(status)]));
  }

  #heads() {
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

  #suggest(known) {
    const names = new Set(this.#model.all().flatMap((each) => each.service.capabilities));
    const first = [...names].sort().slice(0, OFFERED);
    known.replaceChildren(...first.map((value) => h("option", { value })));
  }

  #sortBy(name) {
    const again = this.#wanted.sort === name && !this.#wanted.down;
    this.#narrow({ sort: name, down: again ? "1" : "" });
  }

  #narrow(changes) {
    Object.assign(this.#wanted, changes);
    // In the address, so that it outlives a reload and can be sent to somebody.
    history.replaceState(null, "", this.href);
    this.#show();
    this.#list.top();
  }

  #address() {
    const given = Object.entries(this.#wanted).filter(([name, value]) => value && !(name === "sort" && value === "name"));
    const query = new URLSearchParams(given).toString();
    return query ? `?${query}` : "";
  }

  #show() {
    const begun = performance.now();
    const all = this.#inOrder();
    const chosen = all.filter(this.#filter());
    this.#list.set(chosen);
    this.#report(all, chosen);
    performance.measure("filter", { start: begun });
  }

  #inOrder() {
    const { sort, down } = this.#wanted;
    const state = `${this.#model.version} ${sort} ${down}`;
    if (this.#sortedOf !== state) {
      const { of } = COLUMNS[sort];
      const sign = down ? -1 : 1;
      const keyed = this.#model.all().map((each) => ({ each, key: of(each) }));
      keyed.sort((a, b) => (a.key < b.key ? -sign : a.key > b.key ? sign : a.each.service.id < b.each.service.id ? -1 : 1));
      this.#sorted = keyed.map(({ each }) => each);
      this.#sortedOf = state;
    }
    return this.#sorted;
  }

  #filter() {
    const { q, status, mode, capability } = this.#wanted;
    const words = q.toLowerCase().split(/\s+/).filter(Boolean);
    return ({ service, haystack }) =>
      (!status || service.status === status) &&
      (!mode || service.mode === mode) &&
      (!capability || service.capabilities.includes(capability)) &&
      words.every((word) => haystack.includes(word));
  }

  #report(all, chosen) {
    const { found, empty, tiles, heads } = this.#parts;
    const counts = { "": all.length, healthy: 0, unhealthy: 0, draining: 0 };
    for (const { service } of all) counts[service.status] += 1;
    const { loaded, problem } = this.#model;
    for (const [status, tile] of Object.entries(tiles)) {
      say(tile.lastChild, loaded ? count(counts[status]) : "–");
      tile.setAttribute("aria-pressed", this.#wanted.status === status);
    }
    for (const [name, head] of Object.entries(heads)) {
      const order = this.#wanted.down ? "descending" : "ascending";
      head.setAttribute("aria-sort", this.#wanted.sort === name ? order : "none");
    }
    say(found, loaded ? `${count(chosen.length)} of ${count(all.length)}` : "");
    empty.hidden = chosen.length > 0;
    this.#list.element.hidden = chosen.length === 0;
    if (chosen.length === 0) empty.replaceChildren(...nothing(loaded, problem, all.length, () => this.clear()));
  }
}

function nothing(loaded, problem, total, clear) {
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
    h("p", null, "Services appear here when they register with ", h("code", null, "POST /api/register"), "."),
  ];
}

function cells(service) {
  const cell = (name, ...children) => h("div", { class: `cell ${name}`, role: "gridcell" }, ...children);
  const more = service.capabilities.length - SHOWN;
  const href = `#/services/${encodeURIComponent(service.id)}`;
  return [
    cell("at-status", badge(service.status)),
    cell("at-name", h("a", { href, tabindex: -1 }, service.name), h("small", null, `${service.id} · ${service.version}`)),
    cell(
      "at-capabilities",
      service.capabilities.slice(0, SHOWN).map((name) => h("span", { class: "chip" }, name)),
      more > 0 ? h("span", { class: "more" }, `+${more}`) : null,
    ),
    cell("at-location", h("span", { class: "mode" }, service.mode), h("small", null, service.location)),
    cell("at-registered", h("small", null, moment(service.registered_at))),
  ];
}
