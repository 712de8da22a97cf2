// The page of one service: health, registration, calls and actions.

import { CachedReader, read, servicePath } from "../lib/api.js";
import { openDrainDialog, openUndrainDialog, openUnregisterDialog } from "../lib/dialogs.js";
import { badge, h, icon, setText, table } from "../lib/dom.js";
import * as format from "../lib/format.js";
import { statusTimeline } from "../lib/status_timeline.js";

const EVIDENCE_PERIOD = 2_000; // milliseconds between two reads
const CONNECTIONS_PERIOD = 5_000;

export class ServiceView {
  #id;
  #cache;
  #access;
  #service = null;
  #isMissing = false;
  #history = [];
  #timers = [];
  #unlisten;
  #unlistenAccess;
  #abort = new AbortController();
  #drawnFrom = {}; // what each part was drawn from

  /** `back` is the URL of the list that the user came from. */
  constructor(cache, access, id, back) {
    this.#cache = cache;
    this.#access = access;
    this.#id = id;
    this.title = id;
    this.back = back;
    this.#build();
    this.#unlisten = cache.listen((event) => event?.data?.id === id && this.#onEvent(event));
    this.#unlistenAccess = access.listen(() => this.#service && !this.#isMissing && this.#showActions(this.#service));
    this.#poll(EVIDENCE_PERIOD, () => this.#refresh());
    this.#poll(CONNECTIONS_PERIOD, this.#connections(new CachedReader(`api/connections/${encodeURIComponent(id)}`)));
    this.#timers.push(setInterval(() => this.#tick(), 1_000));
    const cached = cache.get(id);
    if (cached) this.#render(cached);
  }

  close() {
    this.#abort.abort();
    this.#unlisten();
    this.#unlistenAccess();
    this.#timers.forEach(clearInterval);
  }

  #poll(period, refresh) {
    refresh();
    // While the service is not registered, wait for an event instead.
    const isDue = () => document.visibilityState === "visible" && !this.#isMissing;
    this.#timers.push(setInterval(() => isDue() && refresh(), period));
  }

  #build() {
    const part = (name) => (this[`_${name}`] = h("div"));
    this.heading = h("h1", { tabindex: -1 }, this.#id);
    this.badge = h("span");
    this.subtitle = h("p", { class: "subtitle" });
    this.actions = h("div", { class: "actions" });
    this.missing = h("div", { class: "empty", hidden: true });
    this.why = h("div");
    this.evidence = new FactList();
    this.facts = new FactList();
    const card = (title, ...content) => h("section", { class: "card" }, h("h2", null, title), content);
    this.body = h(
      "div",
      { class: "cards", hidden: true },
      h("div", { class: "wide" }, this.why),
      card("Health", this.evidence.element, part("checks")),
      card("Last hour", part("hour")),
      card("Registration", this.facts.element),
      card("Capabilities and metadata", part("capabilities")),
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

  #onEvent(event) {
    if (event.event === "service.unregistered") this.#showMissing({ status: 404 });
    else if (event.revision !== null) this.#refresh();
  }

  async #refresh() {
    const path = servicePath(this.#id);
    try {
      const [service, reply] = await Promise.all([
        read(path, this.#abort.signal),
        read(`${path}/history`, this.#abort.signal),
      ]);
      this.#history = reply.history;
      this.#render(service);
      this.missing.hidden = true;
    } catch (error) {
      if (error.name !== "AbortError") this.#showMissing(error);
    }
  }

  #showMissing(error) {
    this.missing.hidden = false;
    if (error.status !== 404) {
      this.missing.replaceChildren(h("p", null, error.message));
      return;
    }
    this.#isMissing = true;
    this.body.hidden = true;
    this.actions.replaceChildren();
    this.badge.replaceChildren();
    this.#drawnFrom = {};
    this.missing.replaceChildren(
      h("h2", null, "This service is not registered"),
      h("p", null, "It was unregistered, its lease expired, or it never registered. This page updates when it registers."),
    );
  }

  /** Redraw a part only if its data changed, so that focus and selection survive. */
  #renderPart(name, data, draw) {
    const text = JSON.stringify(data);
    if (this.#drawnFrom[name] === text) return;
    this.#drawnFrom[name] = text;
    draw(data);
  }

  #render(service) {
    this.#service = service;
    this.#isMissing = false;
    this.body.hidden = false;
    setText(this.heading, service.name);
    setText(this.subtitle, `${service.id} · version ${service.version}`);
    this.#renderPart("status", service.status, () => {
      this.badge.replaceChildren(badge(service.status));
    });
    this.#showActions(service);
    const { faults, warnings, drain } = service.evidence ?? { faults: [], drain: null };
    this.#renderPart("why", [faults, warnings, drain], () => this.why.replaceChildren(...reasonBoxes({ faults, warnings, drain })));
    this.#renderPart("capabilities", [service.capabilities, service.metadata], () => this._capabilities.replaceChildren(...capabilitiesAndMetadata(service)));
    this.facts.show(registrationFacts(service));
    this.#tick();
  }

  #tick() {
    const service = this.#service;
    if (!service) return;
    const now = Date.now();
    this.evidence.show(healthFacts(service, now));
    this.#renderPart("checks", [service.evidence?.checks ?? [], Math.floor(now / 10_000)], ([checks]) => {
      this._checks.replaceChildren(...checkTable(checks, now));
    });
    // The timeline moves visibly about every 10 s.
    this.#renderPart("hour", [this.#history, Math.floor(now / 10_000)], ([history]) => {
      if (history.length) this._hour.replaceChildren(statusTimeline(history, now));
    });
  }

  /** Show the actions, disabled and with the reason if you may not take them. */
  #showActions(service) {
    const denial = this.#access.denial(service);
    this.#renderPart("actions", [service.status, denial], () => this.actions.replaceChildren(...this.#actionButtons(service, denial)));
  }

  #actionButtons(service, denial) {
    const refresh = () => this.#refresh();
    const goBack = () => {
      location.hash = this.back;
    };
    const button = (text, kind, openDialog, done = refresh) =>
      h("button", { ...disabled, class: `button ${kind}`, type: "button", onclick: () => openDialog(this.#service, done) }, text);
    const disabled = denial ? { disabled: true, "aria-describedby": "denial" } : {};
    return [
      service.status === "draining" ? button("Undrain", "primary", openUndrainDialog) : button("Drain", "", openDrainDialog),
      button("Unregister", "danger", openUnregisterDialog, goBack),
      denial ? h("p", { class: "denial", id: "denial" }, denial) : "",
    ];
  }

  #connections(reader) {
    return async () => {
      try {
        const reply = await reader.read(this.#abort.signal);
        if (reply) this.#renderPart("calls", reply, () => this._calls.replaceChildren(...connectionTables(reply)));
      } catch (error) {
        if (error.name !== "AbortError" && error.status !== 404) setText(this._calls, error.message);
      }
    };
  }
}

/** Names and values, one under the other; updates only the values that changed. */
class FactList {
  element = h("dl", { class: "facts" });

  show(pairs) {
    const names = pairs.map(([name]) => name).join("\n");
    if (this.names !== names) {
      this.names = names;
      this.element.replaceChildren(...pairs.map(([name]) => h("div", null, h("dt", null, name), h("dd"))));
    }
    pairs.forEach(([, value], index) => setText(this.element.children[index].lastChild, value));
  }
}

function reasonBoxes({ faults, warnings = [], drain }) {
  const reasonBox = (status, title, text, since) =>
    h("div", { class: "reason-box", "data-status": status }, h("b", null, title), h("p", null, text), h("small", null, `Since ${format.dateTime(since)}`));
  const boxes = faults.map((fault) => reasonBox("unhealthy", format.faultLabel(fault.source), fault.reason, fault.at));
  boxes.push(...warnings.map((warning) => reasonBox("warning", format.warningLabel(warning.source), warning.reason, warning.at)));
  if (drain) boxes.unshift(reasonBox("draining", "Taken out of discovery", drain.reason || "No reason given.", drain.at));
  return boxes;
}

function healthFacts(service, now) {
  const evidence = service.evidence;
  const rows = [];
  if (evidence) rows.push([`${capitalize(service.status)} since`, `${format.dateTime(evidence.since)} (${format.ago(evidence.since, now)})`]);
  if (service.health === null) {
    rows.push(["Health check", "None: the registry does not check services of this mode"]);
  } else {
    const { interval, timeout, path } = service.health;
    if (evidence?.checked_at) {
      rows.push(["Health check", `${format.outcomeLabel(evidence.outcome)} · checked ${format.ago(evidence.checked_at, now)}`]);
      rows.push(["Message", evidence.message]);
      rows.push(["Latency", format.milliseconds(evidence.latency_ms)]);
      if (evidence.second_opinion) rows.push(["Other replicas", evidence.second_opinion.message]);
      rows.push(["Failures in a row", String(service.failed_checks)]);
      rows.push(["Next check", format.until(evidence.next_check, now)]);
    } else {
      rows.push(["Health check", evidence?.checked_by ? "None by this replica yet" : "None yet"]);
    }
    rows.push(["Schedule", `Every ${interval} s${path ? ` at ${path}` : ""}, timeout ${timeout} s`]);
    if (evidence?.checked_by) rows.push(["Checked by", evidence.checked_by]);
  }
  if (evidence?.facts) {
    rows.push(["Last reachable", format.ago(evidence.facts.reachable, now)]);
    rows.push(["Last verified", format.ago(evidence.facts.verified, now)]);
  }
  rows.push(["Last seen", format.ago(service.last_seen, now)]);
  return rows;
}

/** The checks that the service registered beside the one of its mode, if any. */
function checkTable(checks, now) {
  if (!checks.length) return [];
  const rows = checks.map((check) => [
    h("b", null, check.name),
    `${check.kind}${check.critical ? "" : ", only warns"}`,
    badge(check.status),
    [check.message ?? "–", check.second_opinion?.message].filter(Boolean).join("; "),
    check.checked_at ? format.ago(check.checked_at, now) : "never",
    format.milliseconds(check.latency_ms),
  ]);
  return [h("h3", null, "Checks"), table("Checks", ["Check", "Kind", "Status", "Message", "Checked", "Latency"], rows)];
}

const capitalize = (word) => word[0].toUpperCase() + word.slice(1);

function registrationFacts(service) {
  return [
    ["ID", service.id],
    ["Location", service.location],
    ["Mode", service.mode],
    ["Version", service.version],
    ["Weight", String(service.weight)],
    ...(service.priority ? [["Priority", `${service.priority}: lower numbers get the calls first`]] : []),
    ...(service.zone ? [["Zone", service.zone]] : []),
    ...(service.region ? [["Region", service.region]] : []),
    ["Owner", ownerLabel(service.owner)],
    ["Lease", service.ttl === null ? "None: stays registered until it is unregistered" : `A heartbeat at least every ${service.ttl} s`],
    ["Registered", format.dateTime(service.registered_at)],
    ["Revision", String(service.revision)],
  ];
}

function ownerLabel(name) {
  if (!name) return "None: anyone who may register services can change it";
  return name === "owner_key" ? "The holder of its owner key" : name;
}

function capabilitiesAndMetadata({ capabilities, metadata }) {
  const link = (name) => h("a", { class: "chip", href: `#/capabilities/${encodeURIComponent(name)}` }, name);
  const facts = new FactList();
  facts.show(Object.entries(metadata).map(([name, value]) => [name, format.metadataValue(value)]));
  return [
    h("p", { class: "chips" }, capabilities.length ? capabilities.map(link) : h("span", { class: "faint" }, "No capabilities")),
    Object.keys(metadata).length ? facts.element : h("p", { class: "faint" }, "No metadata"),
  ];
}

function connectionTables({ consuming, providing }) {
  if (!consuming.length && !providing.length) {
    return [h("p", { class: "faint" }, "No calls from or to this service were reported in the last hour.")];
  }
  const connectionTable = (title, entries, role) =>
    entries.length === 0
      ? null
      : [
          h("h3", null, title),
          table(
            title,
            [capitalize(role), "Capability", "Calls", "Success", "Latency", "Last call"],
            entries.map((entry) => [
              h("a", { href: `#/services/${encodeURIComponent(entry[`${role}_id`])}`, title: entry[`${role}_name`] }, entry[`${role}_id`]),
              entry.capability,
              format.count(entry.request_count),
              rateLabel(entry.success_rate),
              format.milliseconds(entry.avg_latency_ms),
              format.timeOfDay(entry.last_seen),
            ]),
          ),
        ];
  return [connectionTable("Outgoing calls", consuming, "provider"), connectionTable("Incoming calls", providing, "consumer")].flat().filter(Boolean);
}

const rateLabel = (rate) =>
  h("span", { class: "rate", "data-rate": rate >= 0.99 ? "good" : rate >= 0.9 ? "fair" : "poor" }, format.percent(rate));
