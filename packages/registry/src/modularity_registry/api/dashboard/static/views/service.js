// One service: what it is, what its status rests on, and whom it calls.

import { Reader, read, servicePath } from "../lib/api.js";
import { askDrain, askUndrain, askUnregister } from "../lib/dialogs.js";
import { badge, h, icon, say, table } from "../lib/dom.js";
import * as format from "../lib/format.js";
import { strip } from "../lib/status_timeline.js";

const EVIDENCE = 2_000; // milliseconds between two looks while the page is open
const CONNECTIONS = 5_000;

export class ServiceView {
  #id;
  #model;
  #me;
  #service = null;
  #absent = false;
  #history = [];
  #timers = [];
  #unlisten;
  #unlistenMe;
  #gone = new AbortController();
  #shown = {}; // what each part was drawn from

  /** `back` is the address of the list that one came from. */
  constructor(model, me, id, back) {
    this.#model = model;
    this.#me = me;
    this.#id = id;
    this.title = id;
    this.back = back;
    this.#build();
    this.#unlisten = model.listen((event) => event?.data?.id === id && this.#told(event));
    this.#unlistenMe = me.listen(() => this.#service && !this.#absent && this.#offer(this.#service));
    this.#every(EVIDENCE, () => this.#look());
    this.#every(CONNECTIONS, this.#connections(new Reader(`api/connections/${encodeURIComponent(id)}`)));
    this.#timers.push(setInterval(() => this.#tick(), 1_000));
    const known = model.get(id);
    if (known) this.#show(known);
  }

  close() {
    this.#gone.abort();
    this.#unlisten();
    this.#unlistenMe();
    this.#timers.forEach(clearInterval);
  }

  #every(period, look) {
    look();
    // While it is not registered, only an event can bring news.
    const due = () => document.visibilityState === "visible" && !this.#absent;
    this.#timers.push(setInterval(() => due() && look(), period));
  }

  #build() {
    const part = (name) => (this[`_${name}`] = h("div"));
    this.heading = h("h1", { tabindex: -1 }, this.#id);
    this.badge = h("span");
    this.subtitle = h("p", { class: "subtitle" });
    this.actions = h("div", { class: "actions" });
    this.missing = h("div", { class: "empty", hidden: true });
    this.why = h("div");
    this.evidence = new Facts();
    this.facts = new Facts();
    const card = (title, ...content) => h("section", { class: "card" }, h("h2", null, title), content);
    this.body = h(
      "div",
      { class: "cards", hidden: true },
      h("div", { class: "wide" }, this.why),
      card("Health", this.evidence.element),
      card("Last hour", part("hour")),
      card("Registration", this.facts.element),
      card("Capabilities and metadata", part("said")),
      h("div", { class: "wide" }, card("Connections", part("calls"))),
    );
    this.element = h(
      "section",
      { class: "view" },
      h("a", { class: "back", href: this.back }, icon("back"), "Services"),
      h("div", { class: "heading" }, h("div", null, h("div", { class: "named" }, this.heading, this.badge), this.subtitle), this.actions),
      this.missing,
      this.body,
    );
  }

  #told(event) {
    if (event.event === "service.unregistered") this.#miss({ status: 404 });
    else if (event.revision !== null) this.#look();
  }

  async #look() {
    const path = servicePath(this.#id);
    try {
      const [service, told] = await Promise.all([
        read(path, this.#gone.signal),
        read(`${path}/history`, this.#gone.signal),
      ]);
      this.#history = told.history;
      this.#show(service);
      this.missing.hidden = true;
    } catch (error) {
      if (error.name !== "AbortError") this.#miss(error);
    }
  }

  #miss(error) {
    this.missing.hidden = false;
    if (error.status !== 404) {
      this.missing.replaceChildren(h("p", null, error.message));
      return;
    }
    this.#absent = true;
    this.body.hidden = true;
    this.actions.replaceChildren();
    this.badge.replaceChildren();
    this.#shown = {};
    this.missing.replaceChildren(
      h("h2", null, "This service is not registered"),
      h("p", null, "It was unregistered, its lease expired, or it never registered. This page updates when it registers."),
    );
  }

  /** Draw a part anew only if it changed: focus and selection stay where they are. */
  #part(name, data, draw) {
    const text = JSON.stringify(data);
    if (this.#shown[name] === text) return;
    this.#shown[name] = text;
    draw(data);
  }

  #show(service) {
    this.#service = service;
    this.#absent = false;
    this.body.hidden = false;
    say(this.heading, service.name);
    say(this.subtitle, `${service.id} · version ${service.version}`);
    this.#part("status", service.status, () => {
      this.badge.replaceChildren(badge(service.status));
    });
    this.#offer(service);
    const { faults, drain } = service.evidence ?? { faults: [], drain: null };
    this.#part("why", [faults, drain], () => this.why.replaceChildren(...reasons(faults, drain)));
    this.#part("said", [service.capabilities, service.metadata], () => this._said.replaceChildren(...said(service)));
    this.facts.show(registration(service));
    this.#tick();
  }

  #tick() {
    const service = this.#service;
    if (!service) return;
    const now = Date.now();
    this.evidence.show(evidence(service, now));
    // Once in 10 s the strip has moved by enough to be seen.
    this.#part("hour", [this.#history, Math.floor(now / 10_000)], ([history]) => {
      if (history.length) this._hour.replaceChildren(strip(history, now));
    });
  }

  /** Offer what may be done; what may not is there, but can't be pressed. */
  #offer(service) {
    const hindrance = this.#me.hindrance(service);
    this.#part("actions", [service.status, hindrance], () => this.actions.replaceChildren(...this.#choices(service, hindrance)));
  }

  #choices(service, hindrance) {
    const again = () => this.#look();
    const leave = () => {
      location.hash = this.back;
    };
    const button = (text, kind, ask, done = again) =>
      h("button", { ...why, class: `button ${kind}`, type: "button", onclick: () => ask(this.#service, done) }, text);
    const why = hindrance ? { disabled: true, "aria-describedby": "hindrance" } : {};
    return [
      service.status === "draining" ? button("Undrain", "primary", askUndrain) : button("Drain", "", askDrain),
      button("Unregister", "danger", askUnregister, leave),
      hindrance ? h("p", { class: "hindrance", id: "hindrance" }, hindrance) : "",
    ];
  }

  #connections(reader) {
    return async () => {
      try {
        const told = await reader.read(this.#gone.signal);
        if (told) this.#part("calls", told, () => this._calls.replaceChildren(...connections(told)));
      } catch (error) {
        if (error.name !== "AbortError" && error.status !== 404) say(this._calls, error.message);
      }
    };
  }
}

/** Names and values, one under the other; only what differs is touched. */
class Facts {
  element = h("dl", { class: "facts" });

  show(pairs) {
    const names = pairs.map(([name]) => name).join("\n");
    if (this.names !== names) {
      this.names = names;
      this.element.replaceChildren(...pairs.map(([name]) => h("div", null, h("dt", null, name), h("dd"))));
    }
    pairs.forEach(([, value], index) => say(this.element.children[index].lastChild, value));
  }
}

function reasons(faults, drain) {
  const reason = (kind, title, text, at) =>
    h("div", { class: "reason-box", "data-status": kind }, h("b", null, title), h("p", null, text), h("small", null, `Since ${format.moment(at)}`));
  const found = faults.map((each) => reason("unhealthy", format.source(each.source), each.reason, each.at));
  if (drain) found.unshift(reason("draining", "Taken out of discovery", drain.reason || "No reason given.", drain.at));
  return found;
}

function evidence(service, now) {
  const seen = service.evidence;
  const rows = [];
  if (seen) rows.push([`${capital(service.status)} since`, `${format.moment(seen.since)} (${format.ago(seen.since, now)})`]);
  if (service.health === null) {
    rows.push(["Checks", "None: the registry does not check services of this mode"]);
  } else {
    const { interval, timeout, path } = service.health;
    if (seen?.checked_at) {
      rows.push(["Health check", `${format.outcome(seen.outcome)} · checked ${format.ago(seen.checked_at, now)}`]);
      rows.push(["Message", seen.message]);
      rows.push(["Latency", format.milliseconds(seen.latency_ms)]);
      rows.push(["Failures in a row", String(service.failed_checks)]);
      rows.push(["Next check", format.ahead(seen.next_check, now)]);
    } else {
      rows.push(["Health check", seen?.checked_by ? "None by this replica yet" : "None yet"]);
    }
    rows.push(["Schedule", `Every ${interval} s${path ? ` at ${path}` : ""}, timeout ${timeout} s`]);
    if (seen?.checked_by) rows.push(["Checked by", seen.checked_by]);
  }
  rows.push(["Last seen", format.ago(service.last_seen, now)]);
  return rows;
}

const capital = (word) => word[0].toUpperCase() + word.slice(1);

function registration(service) {
  return [
    ["ID", service.id],
    ["Location", service.location],
    ["Mode", service.mode],
    ["Version", service.version],
    ["Weight", String(service.weight)],
    ["Owner", owner(service.owner)],
    ["Lease", service.ttl === null ? "None: stays registered until it is unregistered" : `A heartbeat at least every ${service.ttl} s`],
    ["Registered", format.moment(service.registered_at)],
    ["Revision", String(service.revision)],
  ];
}

function owner(name) {
  if (!name) return "None: anyone who may register services can change it";
  return name === "owner_key" ? "The holder of its owner key" : name;
}

function said({ capabilities, metadata }) {
  const link = (name) => h("a", { class: "chip", href: `#/capabilities/${encodeURIComponent(name)}` }, name);
  const facts = new Facts();
  facts.show(Object.entries(metadata).map(([name, given]) => [name, format.value(given)]));
  return [
    h("p", { class: "chips" }, capabilities.length ? capabilities.map(link) : h("span", { class: "faint" }, "No capabilities")),
    Object.keys(metadata).length ? facts.element : h("p", { class: "faint" }, "No metadata"),
  ];
}

function connections({ consuming, providing }) {
  if (!consuming.length && !providing.length) {
    return [h("p", { class: "faint" }, "No calls from or to this service were reported in the last hour.")];
  }
  const side = (title, list, role) =>
    list.length === 0
      ? null
      : [
          h("h3", null, title),
          table(
            title,
            [capital(role), "Capability", "Calls", "Success", "Latency", "Last call"],
            list.map((each) => [
              h("a", { href: `#/services/${encodeURIComponent(each[`${role}_id`])}` }, each[`${role}_name`] ?? each[`${role}_id`]),
              each.capability,
              format.count(each.request_count),
              rate(each.success_rate),
              format.milliseconds(each.avg_latency_ms),
              format.timeOfDay(each.last_seen),
            ]),
          ),
        ];
  return [side("Outgoing calls", consuming, "provider"), side("Incoming calls", providing, "consumer")].flat().filter(Boolean);
}

const rate = (share) =>
  h("span", { class: "rate", "data-rate": share >= 0.99 ? "good" : share >= 0.9 ? "fair" : "poor" }, format.percent(share));
