// What the services can do, and who does it.

import { read } from "../lib/api.js";
import { badge, h, icon, say } from "../lib/dom.js";
import { count, plural } from "../lib/format.js";
import { Windowed } from "../lib/virtual_list.js";

const SHOWN = 4;

export class CapabilitiesView {
  title = "Capabilities";
  #model;
  #list;
  #search;
  #found = h("p", { class: "found", role: "status" });
  #empty = h("div", { class: "empty", hidden: true });

  constructor(model) {
    this.#model = model;
    this.#search = h("input", {
      type: "search",
      placeholder: "Search capabilities",
      "aria-label": "Search capabilities",
      "aria-keyshortcuts": "/",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => {
        this.#show();
        this.#list.top();
      },
    });
    const head = (title) => h("div", { role: "columnheader" }, title);
    this.#list = new Windowed({
      label: "Capabilities",
      head: h("div", { class: "row", role: "row", "aria-rowindex": 1 }, ["Capability", "Healthy", "Providers"].map(head)),
      draw: cells,
      key: (each) => each.name,
      open: (each) => {
        location.hash = `#/capabilities/${encodeURIComponent(each.name)}`;
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
        this.#found,
      ),
      this.#list.element,
      this.#empty,
    );
    model.listen((event) => event === null && this.element.isConnected && this.#show());
  }

  open() {
    this.#show();
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
    this.#show();
    return true;
  }

  #show() {
    const all = gather(this.#model.all());
    const word = this.#search.value.trim().toLowerCase();
    const chosen = all.filter(({ name }) => name.toLowerCase().includes(word));
    say(this.#found, `${count(chosen.length)} of ${count(all.length)}`);
    this.#list.element.hidden = chosen.length === 0;
    this.#empty.hidden = chosen.length > 0;
    if (!chosen.length) say(this.#empty, nothing(this.#model, all.length));
    this.#list.set(chosen);
  }
}

function nothing({ loaded, problem }, total) {
  if (problem) return problem;
  if (!loaded) return "Loading services…";
  return total ? "No capability matches." : "No capabilities yet. They appear here when services register them.";
}

/** Every capability that somebody offers, by name, with those who offer it by id. */
function gather(records) {
  const found = new Map();
  for (const { service } of records) {
    for (const name of service.capabilities) {
      const known = found.get(name);
      if (known) known.providers.push(service);
      else found.set(name, { name, providers: [service] });
    }
  }
  const all = [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const each of all) {
    each.healthy = each.providers.filter(({ status }) => status === "healthy").length;
    each.providers.sort((a, b) => (a.id < b.id ? -1 : 1));
  }
  return all;
}

function cells({ name, providers, healthy }) {
  const cell = (kind, ...children) => h("div", { class: `cell ${kind}`, role: "gridcell" }, ...children);
  const state = healthy === 0 ? "unhealthy" : healthy < providers.length ? "draining" : "healthy";
  const more = providers.length - SHOWN;
  return [
    cell("at-name", h("a", { href: `#/capabilities/${encodeURIComponent(name)}`, tabindex: -1 }, name)),
    cell("at-status", badge(state, `${count(healthy)} of ${count(providers.length)}`)),
    cell(
      "at-capabilities",
      providers.slice(0, SHOWN).map((each) => h("span", { class: "chip", "data-status": each.status }, each.name)),
      more > 0 ? h("span", { class: "more" }, `+${count(more)}`) : null,
    ),
  ];
}

/** One capability: for each provider whether callers get it, and if not, why. */
export class CapabilityView {
  #name;
  #unlisten;
  #waiting = null;
  #gone = new AbortController();
  #shown = "";

  constructor(model, name) {
    this.#name = name;
    this.title = name;
    this.summary = h("p", { class: "subtitle" });
    this.list = h("ul", { class: "providers" });
    this.element = h(
      "section",
      { class: "view" },
      h("a", { class: "back", href: "#/capabilities" }, icon("back"), "Capabilities"),
      h("div", { class: "heading" }, h("div", null, h("h1", { tabindex: -1 }, name), this.summary)),
      this.list,
    );
    this.#unlisten = model.listen((event) => event === null && this.#soon());
    this.#look();
  }

  close() {
    this.#gone.abort();
    clearTimeout(this.#waiting);
    this.#unlisten();
  }

  #soon() {
    this.#waiting ??= setTimeout(() => {
      this.#waiting = null;
      this.#look();
    }, 200);
  }

  async #look() {
    const path = this.#name.split("/").map(encodeURIComponent).join("/");
    try {
      const told = await read(`api/capabilities/${path}/explain?limit=1000`, this.#gone.signal);
      this.#show(told);
    } catch (error) {
      if (error.name !== "AbortError") this.#show({ providers: [], problem: error.message });
    }
  }

  #show({ providers, problem, next }) {
    const text = JSON.stringify([providers, problem]);
    if (text === this.#shown) return;
    this.#shown = text;
    const able = providers.filter(({ returned }) => returned).length;
    const words = `${count(able)} of ${plural(providers.length, "provider")} available`;
    say(this.summary, problem ?? (providers.length ? `${words}${next ? " (of the first 1,000)" : ""}` : "No service provides this capability."));
    const order = [...providers].sort((a, b) => a.returned - b.returned);
    this.list.replaceChildren(...order.map(provider));
  }
}

function provider({ service_id: id, name, status, reasons }) {
  return h(
    "li",
    { class: "card" },
    h("a", { href: `#/services/${encodeURIComponent(id)}` }, name, h("small", null, id)),
    badge(status),
    reasons.length ? h("p", null, `Not available: ${reasons.join("; ")}.`) : h("p", { class: "faint" }, "Available"),
  );
}
