// The last hour of a service as a strip: which status held from when to when.

import { badge, h, s } from "./dom.js";
import { span, timeOfDay } from "./format.js";

const HOUR = 3_600_000;
const TICKS = ["1 hour ago", "45 min", "30 min", "15 min", "Now"];

/** The strip with its changes in words, of the history that the registry tells. */
export function strip(history, now) {
  const begun = now - HOUR;
  const parts = history.map(({ at, status, reason }, index) => {
    const from = Math.max(begun, Date.parse(at));
    const next = history[index + 1];
    return { at, status, reason, from, to: next ? Math.max(from, Date.parse(next.at)) : now };
  });
  return h(
    "div",
    { class: "hour" },
    s(
      "svg",
      { viewBox: "0 0 1000 34", preserveAspectRatio: "none", role: "img", "aria-label": summary(parts, begun, now) },
      s("rect", { class: "before", x: 0, y: 0, width: 1000, height: 34 }),
      parts.map((part) => block(part, begun)),
    ),
    h("div", { class: "ticks", "aria-hidden": "true" }, TICKS.map((tick) => h("span", null, tick))),
    h("ol", { class: "changes", reversed: true }, [...parts].reverse().slice(0, 12).map(change)),
  );
}

function block({ status, from, to, reason }, begun) {
  const x = ((from - begun) / HOUR) * 1000;
  // At least wide enough to be seen, however short it was.
  const width = Math.max(3, ((to - from) / HOUR) * 1000);
  const rect = s("rect", { "data-status": status, x: Math.min(x, 997), y: 0, width, height: 34 });
  rect.append(s("title", null, `${status} for ${span((to - from) / 1000)}${reason ? `: ${reason}` : ""}`));
  return rect;
}

function change({ at, status, reason }) {
  return h(
    "li",
    null,
    h("time", { datetime: at }, timeOfDay(at)),
    badge(status),
    h("span", { class: "reason" }, reason ?? ""),
  );
}

function summary(parts, begun, now) {
  const times = {};
  for (const { status, from, to } of parts) times[status] = (times[status] ?? 0) + Math.max(0, to - from);
  const shares = Object.entries(times).map(([status, time]) => `${status} for ${span(time / 1000)}`);
  const known = Math.max(0, now - Math.max(begun, parts[0]?.from ?? now));
  return `Last ${span(known / 1000)}: ${shares.join(", ")}`;
}
