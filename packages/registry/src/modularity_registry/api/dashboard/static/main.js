// The entry point: routes between views, follows events, handles keys and the theme.

import { Access } from "./lib/access.js";
import { DEFAULT_NAMESPACE, address, namespace, onTokenChange, onTokenRefused, read } from "./lib/api.js";
import { openTokenDialog } from "./lib/dialogs.js";
import { h, icon, setText } from "./lib/dom.js";
import { EventStream } from "./lib/event_stream.js";
import { count, dateTime, duration, plural } from "./lib/format.js";
import { NamespaceChooser } from "./lib/namespaces.js";
import { ServiceCache } from "./lib/service_cache.js";
import { CapabilitiesView, CapabilityView } from "./views/capabilities.js";
import { GraphView } from "./views/graph.js";
import { RegistryView } from "./views/registry.js";
import { ServiceView } from "./views/service.js";
import { ServicesView } from "./views/services.js";

const HEALTH_PERIOD = 5_000; // milliseconds between two reads of the registry's health
const STATE_LABELS = { live: "Live", lost: "Disconnected", connecting: "Connecting" };

const main = document.getElementById("main");
const cache = new ServiceCache();
const access = new Access();
const servicesView = new ServicesView(cache);
const capabilitiesView = new CapabilitiesView(cache);
let view = null;
let connectionProblem = "";

function viewFor(path) {
  const [name, ...rest] = path.split("/").filter(Boolean);
  const id = rest.map(decode).join("/");
  if (name === "services" && id) return new ServiceView(cache, access, id, servicesView.href);
  if (name === "capabilities" && id) return new CapabilityView(cache, id);
  if (name === "capabilities") return capabilitiesView;
  if (name === "graph") return new GraphView(cache);
  if (name === "registry") return new RegistryView();
  return servicesView;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function navigate() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const previous = view;
  const next = viewFor(path);
  if (previous !== next) {
    previous?.close?.();
    main.replaceChildren(next.element);
    main.scrollTop = 0;
  }
  view = next;
  next.open?.(new URLSearchParams(query));
  const place = namespace === DEFAULT_NAMESPACE ? "" : `${namespace} · `;
  document.title = `${next.title} · ${place}Modularity Registry`;
  const tab = `#/${path.split("/").filter(Boolean)[0] ?? "services"}`;
  for (const link of document.querySelectorAll("#tabs a")) {
    if (link.getAttribute("href") === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  // On the first view the focus stays at the top of the page.
  if (previous && previous !== next) focus(previous, next);
}

function focus(previous, next) {
  // Back in a list, on the row that was opened.
  const returning = (next === servicesView && previous instanceof ServiceView) || (next === capabilitiesView && previous instanceof CapabilityView);
  if (returning) next.focusList();
  else next.element.querySelector("h1").focus({ preventScroll: true });
}

function onKeydown(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const field = event.target.closest("input, select, textarea");
  if (event.key === "/" && !field) {
    event.preventDefault();
    // Not with the hashchange event: the next letter must reach the search already.
    if (!view.focusSearch) {
      location.hash = "#/services";
      navigate();
    }
    view.focusSearch();
  } else if (event.key === "Escape") {
    onEscape(field);
  }
}

function onEscape(field) {
  if (view instanceof ServiceView) location.hash = view.back;
  else if (view instanceof CapabilityView) location.hash = "#/capabilities";
  else if (!view.clear?.() && field) view.focusList?.();
}

function onConnectionState(state, problem) {
  const live = document.getElementById("live");
  live.dataset.state = state;
  setText(live.lastChild, STATE_LABELS[state]);
  live.title = problem;
  connectionProblem = problem;
  // The token's rights may have changed while the connection was lost.
  if (state === "live") access.refresh();
  // And so may the namespaces that there are.
  if (state === "live") namespaces.refresh();
  // The list can be read even if the stream can't.
  if (state === "lost" && !cache.loaded) cache.load();
  showBanner();
}

let health = null;

function showBanner() {
  const element = document.getElementById("banner");
  const messages = [];
  if (connectionProblem) messages.push(`${connectionProblem} The data on this page may be out of date.`);
  if (health?.stale_seconds !== undefined) messages.push(`The registry's data has been stale for ${duration(health.stale_seconds)}.`);
  for (const reason of health?.reasons ?? []) messages.push(`The registry is degraded: ${reason}.`);
  const lines = [trouble(), ...messages].filter(Boolean);
  element.hidden = lines.length === 0;
  const key = JSON.stringify(lines.map((line) => line.textContent ?? line));
  if (element.dataset.key === key) return; // so that a link keeps the focus
  element.dataset.key = key;
  // In its colour, as long as nothing is worse.
  element.dataset.status = lines.every((line) => line.className === "warns") ? "warning" : "unhealthy";
  element.replaceChildren(...lines.map((line) => h("p", null, line)));
}

/** How many services are unhealthy, since when, and how many warn; null if none does. */
function trouble() {
  const having = (status) => cache.all().filter(({ service }) => service.status === status);
  const [failing, warning] = [having("unhealthy"), having("warning")];
  const link = (status, text) => h("a", { href: `#/services?status=${status}` }, text);
  const warn = `${warning.length === 1 ? "has" : "have"} a warning`;
  if (!failing.length) {
    if (!warning.length) return null;
    return h("span", { class: "warns" }, link("warning", `${plural(warning.length, "service")} of ${count(cache.size)} ${warn}`));
  }
  const since = failing.map(({ service }) => service.status_since).sort()[0];
  const verb = failing.length === 1 ? "is" : "are";
  const parts = [link("unhealthy", `${plural(failing.length, "service")} of ${count(cache.size)} ${verb} unhealthy`), since ? `, the first since ${dateTime(since)}` : ""];
  if (warning.length) parts.push("; ", link("warning", `${count(warning.length)} ${warn}`));
  return h("span", null, ...parts);
}

async function refreshHealth() {
  if (document.visibilityState !== "visible") return;
  try {
    health = await read("health");
  } catch {
    // The connection state shows this already.
    health = null;
  }
  showBanner();
}

let tokenRequested = false; // since the last token was entered

function setUpTokenButton() {
  const button = document.getElementById("token");
  const name = h("span");
  button.append(icon("key"), name);
  button.addEventListener("click", () => openTokenDialog(access));
  access.listen(() => {
    const label = access.name ? `Access token: ${access.name}` : "Access token";
    button.setAttribute("aria-label", label);
    button.title = label;
    setText(name, access.name);
  });
}

function setUpThemeButton() {
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
      // Without storage the choice lasts until the page is closed.
    }
    show();
  });
  dark.addEventListener("change", show);
  show();
}

const stream = new EventStream((event) => cache.onEvent(event), onConnectionState);
onTokenChange(() => {
  tokenRequested = false;
  stream.restart();
});
onTokenRefused((message, hadToken) => {
  access.onRefused(message, hadToken);
  // Ask once: the key button is there for later.
  if (tokenRequested || document.querySelector("dialog[open]")) return;
  tokenRequested = true;
  openTokenDialog(access, true);
});

const namespaces = new NamespaceChooser(document.getElementById("namespace"));

setUpThemeButton();
setUpTokenButton();
cache.listen((event) => event === null && showBanner());
document.getElementById("skip").addEventListener("click", (event) => {
  // The URL's fragment names the view, so it can't be a link target too.
  event.preventDefault();
  main.querySelector("h1, input")?.focus();
});
document.addEventListener("keydown", onKeydown);
addEventListener("hashchange", navigate);
if (!location.hash) history.replaceState(null, "", `${address("").pathname}${location.search}#/services`);
navigate();
stream.run();
// There may be no connection in a namespace, but others to choose.
if (namespace !== DEFAULT_NAMESPACE) namespaces.refresh();
refreshHealth();
setInterval(refreshHealth, HEALTH_PERIOD);
