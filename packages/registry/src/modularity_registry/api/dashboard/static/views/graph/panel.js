// The panel beside the graph: all about the box or the line that was clicked.

import { badge, factList, h, icon, table } from "../../lib/dom.js";
import { count, milliseconds, perSecond, percent, plural, urgency } from "../../lib/format.js";
import { compareNames, rateClass } from "./model.js";

const MAX_INSTANCES = 50;
const MAX_ROWS = 30;

export class Panel {
  #actions;
  #key = null;
  #content = "";
  #title = h("h2", { id: "graph-panel-title", tabindex: -1 });
  #body = h("div", { class: "details" });

  /** `actions` are `select(key)`, `close()`, `open(key)` and `collapse(key)`. */
  constructor(actions) {
    this.#actions = actions;
    const close = h("button", { class: "icon", type: "button", "aria-label": "Close", title: "Close (Esc)", onclick: actions.close }, icon("close"));
    this.element = h("section", { class: "panel", "aria-labelledby": "graph-panel-title", hidden: true }, h("header", null, this.#title, close), this.#body);
  }

  /** Show a box, or a connection, of the model; nothing if both are undefined. */
  show({ key, box, connection, opened }, model) {
    const [title, parts] = box ? this.#box(box, opened, model) : connection ? this.#connection(connection, model) : ["", []];
    this.element.hidden = !box && !connection;
    // Only if something has changed, so that scrolling and the focus stay.
    const content = JSON.stringify([title, h("div", null, parts).textContent, [...new Set(parts.flat())].length]);
    if (this.#key === key && content === this.#content) return;
    const focused = this.#body.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    this.#title.textContent = title;
    this.#body.replaceChildren(...parts.flat().filter(Boolean));
    if (this.#key !== key) this.element.scrollTop = 0;
    [this.#key, this.#content] = [key, content];
    if (focused) this.#body.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  focus() {
    this.#title.focus();
  }

  #box(box, opened, model) {
    const parts = [
      this.#about(box),
      this.#grouping(box, opened),
      h("h3", null, "Traffic"),
      table("Traffic", ["Calls", ...TRAFFIC], [["Incoming", ...trafficCells(box.in)], ["Outgoing", ...trafficCells(box.out)]]),
      ...(box.instances.length > 1 ? [h("h3", null, "Instances"), instanceList(box.instances)] : []),
      ...this.#neighbours("Called by", box.incoming, "from", model),
      ...this.#neighbours("Calls", box.outgoing, "to", model),
    ];
    return [box.label, parts];
  }

  #about(box) {
    if (box.instances.length === 1) return h("p", { class: "about" }, serviceLink(box.instances[0]));
    const states = [plural(box.instances.length, "instance"), box.unhealthy ? `${count(box.unhealthy)} unhealthy` : "", box.warning ? `${count(box.warning)} warning` : "", box.draining ? `${count(box.draining)} draining` : ""];
    return h("p", { class: "about" }, states.filter(Boolean).join(" · "));
  }

  #grouping(box, opened) {
    const group = opened ?? box.group?.key;
    if (group) return this.#button("Group its instances again", () => this.#actions.collapse(group));
    if (box.instances.length > 1) return this.#button("Show instances in the graph", () => this.#actions.open(box.key));
    return null;
  }

  #button(label, onclick) {
    return h("button", { class: "button", type: "button", "data-focus": "grouping", onclick }, label);
  }

  #neighbours(title, connections, side, model) {
    if (connections.length === 0) return [];
    const sorted = [...connections].sort((a, b) => a.success - b.success || b.rate - a.rate);
    const name = (connection) => this.#selector(model.boxes.get(connection[side])?.label ?? "", connection.key);
    const more = sorted.length > MAX_ROWS ? h("p", { class: "faint" }, `And ${count(sorted.length - MAX_ROWS)} more.`) : null;
    return [h("h3", null, title), table(title, ["Service", ...TRAFFIC], sorted.slice(0, MAX_ROWS).map((each) => [name(each), ...trafficCells(each)])), more];
  }

  #selector(label, key) {
    return h("button", { class: "link", type: "button", "data-focus": key, title: label, onclick: () => this.#actions.select(key) }, label);
  }

  #connection(connection, { boxes }) {
    const [from, to] = [boxes.get(connection.from), boxes.get(connection.to)];
    const parts = [
      factList([
        ["Caller", this.#selector(from.label, from.key)],
        ["Provider", this.#selector(to.label, to.key)],
        ["Calls per second", perSecond(connection.rate)],
        ["Calls", count(connection.calls)],
        ["Success", rate(connection.success)],
        ["Errors", count(connection.errors)],
        ["Average latency", milliseconds(connection.latency)],
      ]),
      h("h3", null, "By capability"),
      table("By capability", ["Capability", ...TRAFFIC], connection.capabilities.map((each) => [each.capability, ...trafficCells(each)])),
      h("h3", null, "Services"),
      instanceList([...new Set([...from.instances, ...to.instances])]),
    ];
    return [`${from.label} → ${to.label}`, parts];
  }
}

const TRAFFIC = ["Calls/s", "Success", "Errors", "Latency"];

const rate = (success) => h("span", { class: "rate", "data-rate": rateClass(success) }, percent(success));

const trafficCells = (traffic) =>
  traffic.calls ? [perSecond(traffic.rate), rate(traffic.success), count(traffic.errors), milliseconds(traffic.latency)] : ["–", "–", "–", "–"];

function serviceLink({ id, status, registered }) {
  if (!registered) return [id, h("span", { class: "faint" }, "not registered")];
  return [h("a", { href: `#/services/${encodeURIComponent(id)}`, "data-focus": id }, id), badge(status)];
}

/** Instances with their status, failing ones first. */
function instanceList(instances) {
  const sorted = [...instances].sort((a, b) => urgency(a.status) - urgency(b.status) || compareNames(a.id, b.id));
  const hiddenCount = sorted.length - MAX_INSTANCES;
  return h(
    "ul",
    { class: "instances" },
    sorted.slice(0, MAX_INSTANCES).map((node) => h("li", null, serviceLink(node))),
    hiddenCount > 0 ? h("li", { class: "faint" }, `And ${count(hiddenCount)} more.`) : null,
  );
}
