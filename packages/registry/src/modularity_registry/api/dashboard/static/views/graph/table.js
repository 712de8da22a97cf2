// The table below the graph, and what is said when there is no graph.

import { copyable, h, table } from "../../lib/dom.js";
import { count, milliseconds, perSecond, percent } from "../../lib/format.js";
import { rateClass } from "./model.js";

const MAX_ROWS = 200;

/** All connections between single services, busiest first. */
export function callTable({ nodes, edges }) {
  const names = new Map(nodes.map(({ id, name }) => [id, name ?? id]));
  const rows = [...edges].sort((a, b) => b.calls_per_second - a.calls_per_second || b.weight - a.weight);
  const link = (id) => h("a", { href: `#/services/${encodeURIComponent(id)}` }, names.get(id) ?? id);
  return table(
    "Connections",
    ["Caller", "Provider", "Capability", "Calls/s", "Calls", "Success", "Latency"],
    rows.slice(0, MAX_ROWS).map((edge) => [
      link(edge.from),
      link(edge.to),
      edge.capability,
      perSecond(edge.calls_per_second),
      count(edge.weight),
      h("span", { class: "rate", "data-rate": rateClass(edge.success_rate) }, percent(edge.success_rate)),
      milliseconds(edge.avg_latency_ms),
    ]),
  );
}

export function emptyState(hasCalls, clear) {
  if (hasCalls) {
    return [
      h("h2", null, "No service matches"),
      h("p", null, "Change the filter, or turn off “Failing only”."),
      h("button", { class: "button", type: "button", onclick: clear }, "Show all"),
    ];
  }
  return [
    h("h2", null, "No calls reported yet"),
    h("p", null, "Services report calls with ", h("code", null, "POST /api/track/invocation"), ". The graph shows the last hour. To see some, start a small system that lives for a while:"),
    copyable("modularity-registry demo"),
  ];
}
