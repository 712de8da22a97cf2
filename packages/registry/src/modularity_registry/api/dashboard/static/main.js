// Starts the dashboard: which view is shown, the line to the registry, keys and theme.

import { address, read, whenRefused, whenTokenChanges } from "./lib/api.js";
import { CapabilitiesView, CapabilityView } from "./views/capabilities.js";
import { askToken } from "./lib/dialogs.js";
import { h, icon, say } from "./lib/dom.js";
import { span } from "./lib/format.js";
import { GraphView } from "./views/graph.js";
import { Me } from "./lib/access.js";
import { Model } from "./lib/service_cache.js";
import { RegistryView } from "./views/registry.js";
import { ServiceView } from "./views/service.js";
import { ServicesView } from "./views/services.js";
import { Stream } from "./lib/event_stream.js";

const HEALTH = 5_000; // milliseconds between two looks at the registry's own state
const STATES = { live: "Live", lost: "Disconnected", connecting: "Connecting" };

const main = document.getElementById("main");
const model = new Model();
const me = new Me();
const services = new ServicesView(model);
const capabilities = new CapabilitiesView(model);
let view = null;
let lineProblem = "";

function made(path) {
  const [name, ...rest] = path.split("/").filter(Boolean);
  const what = rest.map(decoded).join("/");
  if (name === "services" && what) return new ServiceView(model, me, what, services.href);
  if (name === "capabilities" && what) return new CapabilityView(model, what);
  if (name === "capabilities") return capabilities;
  if (name === "graph") return new GraphView(model);
  if (name === "registry") return new RegistryView();
  return services;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function route() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const before = view;
  const next = made(path);
  if (before !== next) {
    before?.close?.();
    main.replaceChildren(next.element);
    main.scrollTop = 0;
  }
  view = next;
  next.open?.(new URLSearchParams(query));
  document.title = `${next.title} · Modularity Registry`;
  const tab = `#/${path.split("/").filter(Boolean)[0] ?? "services"}`;
  for (const link of document.querySelectorAll("#tabs a")) {
    if (link.getAttribute("href") === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  // Not on the first one: who just came has the focus at the top of the page.
  if (before && before !== next) focus(before, next);
}

function focus(before, next) {
  // Back at a list, where one left it.
  const back = (next === services && before instanceof ServiceView) || (next === capabilities && before instanceof CapabilityView);
  if (back) next.focusList();
  else next.element.querySelector("h1").focus({ preventScroll: true });
}

function keys(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const writing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !writing) {
    event.preventDefault();
    // At once, not with the event that follows: the next letter belongs to the search.
    if (!view.focusSearch) {
      location.hash = "#/services";
      route();
    }
    view.focusSearch();
  } else if (event.key === "Escape") {
    escape(writing);
  }
}

function escape(writing) {
  if (view instanceof ServiceView) location.hash = view.back;
  else if (view instanceof CapabilityView) location.hash = "#/capabilities";
  else if (!view.clear?.() && writing) view.focusList?.();
}

function line(state, words) {
  const live = document.getElementById("live");
  live.dataset.state = state;
  say(live.lastChild, STATES[state]);
  live.title = words;
  lineProblem = words;
  // What one may do can be another thing by now.
  if (state === "live") me.look();
  // Without a stream the list can still be read, if only once.
  if (state === "lost" && !model.loaded) model.read();
  banner();
}

let health = null;

function banner() {
  const element = document.getElementById("banner");
  const words = [];
  if (lineProblem) words.push(`${lineProblem} The data on this page may be out of date.`);
  if (health?.stale_seconds !== undefined) words.push(`The registry's data has been stale for ${span(health.stale_seconds)}.`);
  for (const reason of health?.reasons ?? []) words.push(`The registry is degraded: ${reason}.`);
  element.hidden = words.length === 0;
  element.replaceChildren(...words.map((text) => h("p", null, text)));
}

async function look() {
  if (document.visibilityState !== "visible") return;
  try {
    health = await read("health");
  } catch {
    // The line says so already.
    health = null;
  }
  banner();
}

let asked = false; // for a token, since the last one was given

function access() {
  const button = document.getElementById("token");
  const name = h("span");
  button.append(icon("key"), name);
  button.addEventListener("click", () => askToken(me));
  me.listen(() => {
    const label = me.name ? `Access token: ${me.name}` : "Access token";
    button.setAttribute("aria-label", label);
    button.title = label;
    say(name, me.name);
  });
}

function theme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const current = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");
  const show = () => {
    const other = current() === "dark" ? "light" : "dark";
    button.replaceChildren(icon(other === "dark" ? "moon" : "sun"));
    button.setAttribute("aria-label", `Switch to the ${other} theme`);
    button.title = `Switch to the ${other} theme`;
  };
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("modularity-theme", root.dataset.theme);
    } catch {
      // Then it holds until the page is left.
    }
    show();
  });
  dark.addEventListener("change", show);
  show();
}

const stream = new Stream((event) => model.take(event), line);
whenTokenChanges(() => {
  asked = false;
  stream.restart();
});
whenRefused((words, shown) => {
  me.lose(words, shown);
  // Once: who has no token may still look at what is here, or use the key button.
  if (asked || document.querySelector("dialog[open]")) return;
  asked = true;
  askToken(me, true);
});

theme();
access();
document.getElementById("skip").addEventListener("click", (event) => {
  // The address has the view in it, so it can't also name a place.
  event.preventDefault();
  main.querySelector("h1, input")?.focus();
});
document.addEventListener("keydown", keys);
addEventListener("hashchange", route);
if (!location.hash) history.replaceState(null, "", `${address("").pathname}#/services`);
route();
stream.run();
look();
setInterval(look, HEALTH);
