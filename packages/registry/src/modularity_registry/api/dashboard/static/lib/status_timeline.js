// A service's status over the last hour, as a bar and as a list of changes.

import { badge, h, svg } from "./dom.js";
import { duration, timeOfDay } from "./format.js";

const HOUR = 3_600_000;
const TICKS = ["1 hour ago", "45 min", "30 min", "15 min", "Now"];

/** The bar and the list for the registry's `history`, oldest first. */
export function statusTimeline(history, now) {
  const hourStart = now - HOUR;
  const periods = history.map(({ at, status, reason }, index) => {
    const from = Math.max(hourStart, Date.parse(at));
    const next = history[index + 1];
    return { at, status, reason, from, to: next ? Math.max(from, Date.parse(next.at)) : now };
  });
  return h(
    "div",
    { class: "hour" },
    svg(
      "svg",
      { viewBox: "0 0 1000 34", preserveAspectRatio: "none", role: "img", "aria-label": summary(periods, hourStart, now) },
      svg("rect", { class: "before", x: 0, y: 0, width: 1000, height: 34 }),
      periods.map((period) => rectangle(period, hourStart)),
    ),
    h("div", { class: "ticks", "aria-hidden": "true" }, TICKS.map((tick) => h("span", null, tick))),
    h("ol", { class: "changes", reversed: true }, [...periods].reverse().slice(0, 12).map(changeItem)),
  );
}

function rectangle({ status, from, to, reason }, hourStart) {
  const x = ((from - hourStart) / HOUR) * 1000;
  // Wide enough to be seen, however short the period.
  const width = Math.max(3, ((to - from) / HOUR) * 1000);
  const rect = svg("rect", { "data-status": status, x: Math.min(x, 997), y: 0, width, height: 34 });
  rect.append(svg("title", null, `${status} for ${duration((to - from) / 1000)}${reason ? `: ${reason}` : ""}`));
  return rect;
}

function changeItem({ at, status, reason }) {
  return h(
    "li",
    null,
    h("time", { datetime: at }, timeOfDay(at)),
    badge(status),
    h("span", { class: "reason" }, reason ?? ""),
  );
}

function summary(periods, hourStart, now) {
  const times = {};
  for (const { status, from, to } of periods) times[status] = (times[status] ?? 0) + Math.max(0, to - from);
  const shares = Object.entries(times).map(([status, time]) => `${status} for ${duration(time / 1000)}`);
  const covered = Math.max(0, now - Math.max(hourStart, periods[0]?.from ?? now));
  return `Last ${duration(covered / 1000)}: ${shares.join(", ")}`;
}
