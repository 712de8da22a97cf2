// What the call graph shows: services in groups, and one connection for each pair of them.

const MAX_OPEN = 8; // boxes of an open group

export const GROUPINGS = { name: "Group by name", capability: "Group by capability", none: "No groups" };

/** Compares names so that `api-9` comes before `api-10`. */
export const compareNames = new Intl.Collator("en", { numeric: true }).compare;

/** `good` from 99%, `fair` from 90%, else `poor`. */
export const rateClass = (share) => (share >= 0.99 ? "good" : share >= 0.9 ? "fair" : "poor");

const SEVERITY = { good: 0, fair: 1, poor: 2 };

/**
 * Return `{ boxes, connections }` by key. A box is a group of instances, or one instance
 * of a group whose key is in `open`. `capabilitiesOf(id)` returns a service's list.
 */
export function buildModel({ nodes, edges }, { by, open, capabilitiesOf }) {
  const groups = new Map();
  const shared = sharedNames(nodes);
  for (const node of nodes) {
    const { key, label } = groupOf(node, by, { capabilitiesOf, shared });
    if (!groups.has(key)) groups.set(key, { key, label, instances: [] });
    groups.get(key).instances.push(node);
  }
  const boxes = new Map();
  const boxOf = new Map();
  for (const group of groups.values()) {
    for (const box of boxesOf(group, open)) {
      boxes.set(box.key, box);
      for (const { id } of box.instances) boxOf.set(id, box.key);
    }
  }
  const connections = connect(edges, boxOf);
  for (const connection of connections.values()) {
    boxes.get(connection.from).outgoing.push(connection);
    boxes.get(connection.to).incoming.push(connection);
  }
  for (const box of boxes.values()) summarize(box);
  return { boxes, connections };
}

function sharedNames(nodes) {
  const seen = new Set();
  return new Set(nodes.map(({ name }) => name).filter((name) => seen.has(name) || !seen.add(name)));
}

function groupOf(node, by, { capabilitiesOf, shared }) {
  const name = node.name ?? node.id;
  const [capability] = by === "capability" ? capabilitiesOf(node.id) : [];
  if (capability) return { key: `capability ${capability}`, label: capability };
  // A caller that is not registered is never taken for a service with that name.
  if (by === "none" || !node.registered) return { key: `id ${node.id}`, label: shared.has(name) ? node.id : name };
  return { key: `name ${name}`, label: name };
}

const urgency = ({ status }) => ({ unhealthy: 0, warning: 1 })[status] ?? 2;

/** The group as one box, or each instance; of many, the healthy ones at the end share a box. */
function boxesOf(group, open) {
  const size = group.instances.length;
  if (!open.has(group.key) || size === 1) return [newBox(group.key, group.label, group.instances)];
  const sorted = [...group.instances].sort((a, b) => urgency(a) - urgency(b) || compareNames(a.id, b.id));
  const single = size > MAX_OPEN ? sorted.splice(0, MAX_OPEN - 1) : sorted.splice(0);
  const boxes = single.map((node) => newBox(`id ${node.id}`, node.id, [node], group));
  if (sorted.length) boxes.push(newBox(`rest of ${group.key}`, `${sorted.length} more`, sorted, group));
  return boxes;
}

const newBox = (key, label, instances, group = null) => ({ key, label, instances, group, incoming: [], outgoing: [] });

/** One connection for each pair of boxes, with the sums of its calls by capability. */
function connect(edges, boxOf) {
  const connections = new Map();
  for (const edge of edges) {
    const [from, to] = [boxOf.get(edge.from), boxOf.get(edge.to)];
    const key = JSON.stringify([from, to]);
    if (!connections.has(key)) connections.set(key, { key, from, to, parts: new Map() });
    const { parts } = connections.get(key);
    if (!parts.has(edge.capability)) parts.set(edge.capability, []);
    parts.get(edge.capability).push(edge);
  }
  for (const connection of connections.values()) {
    connection.capabilities = [...connection.parts].map(([capability, list]) => ({ capability, ...sum(list.map(traffic)) }));
    Object.assign(connection, sum(connection.capabilities));
    connection.level = rateClass(connection.success);
  }
  return connections;
}

function traffic({ weight, success_rate: success, calls_per_second: rate, avg_latency_ms: latency }) {
  return { calls: weight, rate, errors: Math.round(weight * (1 - success)), latency };
}

/** The sum of several: `calls`, `rate` a second, `errors`, `success` 0 to 1, `latency` in ms or null. */
export function sum(list) {
  const total = { calls: 0, rate: 0, errors: 0, latency: null };
  let [timed, time] = [0, 0];
  for (const { calls, rate, errors, latency } of list) {
    total.calls += calls;
    total.rate += rate;
    total.errors += errors;
    if (latency === null) continue;
    timed += calls;
    time += calls * latency;
  }
  total.latency = timed ? time / timed : null;
  return { ...total, success: total.calls ? 1 - total.errors / total.calls : 1 };
}

function summarize(box) {
  const total = (status) => box.instances.filter((node) => node.status === status).length;
  box.unhealthy = total("unhealthy");
  box.warning = total("warning");
  box.draining = total("draining");
  box.registered = box.instances.some((node) => node.registered);
  box.in = sum(box.incoming);
  box.out = sum(box.outgoing);
  box.level = box.unhealthy ? "poor" : rateClass(box.in.success);
}

/**
 * Return the boxes and connections that the filters leave. A text leaves what it matches
 * and the neighbours of that; `failing` leaves failing boxes, and failing connections
 * with both ends. Without a text, services without calls are left out unless they fail.
 */
export function filterModel({ boxes, connections }, { q, failing, capabilitiesOf }) {
  const terms = q.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = new Set([...boxes.values()].filter((box) => matchesText(box, terms, capabilitiesOf)));
  const byKey = (key) => boxes.get(key);
  let lines = [...connections.values()].filter(({ from, to }) => matches.has(byKey(from)) || matches.has(byKey(to)));
  if (failing) lines = lines.filter(({ level }) => level !== "good");
  const visible = new Set([...matches].filter((box) => box.level !== "good" || (terms.length > 0 && !failing)));
  for (const { from, to } of lines) visible.add(byKey(from)).add(byKey(to));
  return { boxes: [...visible], connections: lines, quiet: boxes.size - (terms.length || failing ? boxes.size : visible.size) };
}

function matchesText(box, terms, capabilitiesOf) {
  if (terms.length === 0) return true;
  const ids = box.instances.flatMap(({ id }) => [id, ...capabilitiesOf(id)]);
  const text = [box.label, box.group?.label ?? "", ...ids].join("\n").toLowerCase();
  return terms.every((term) => text.includes(term));
}

/**
 * Return the most important boxes: those of open groups, failing ones and those that call
 * them, those already `shown`, so that boxes don't come and go with every call, then the
 * busiest.
 */
export function mostImportant({ boxes, connections }, limit, shown) {
  if (boxes.length <= limit) return boxes;
  const affected = affectedBoxes(boxes, connections);
  const rank = (box) => [Number(box.group !== null), SEVERITY[box.level], affected.get(box.key) ?? 0, Number(shown.has(box.key)), box.in.rate + box.out.rate, box.in.calls + box.out.calls];
  const ranked = boxes.map((box) => ({ box, rank: rank(box) }));
  ranked.sort((a, b) => {
    const index = a.rank.findIndex((value, place) => value !== b.rank[place]);
    return index < 0 ? (a.box.key < b.box.key ? -1 : 1) : b.rank[index] - a.rank[index];
  });
  return ranked.slice(0, limit).map(({ box }) => box);
}

/** By key: 2 for an end of a failing connection, 1 for a neighbour of a failing box. */
function affectedBoxes(boxes, connections) {
  const failing = new Set(boxes.filter(({ level }) => level !== "good").map(({ key }) => key));
  const affected = new Map();
  for (const { from, to, level } of connections) {
    const weight = level !== "good" ? 2 : failing.has(from) || failing.has(to) ? 1 : 0;
    for (const key of [from, to]) affected.set(key, Math.max(weight, affected.get(key) ?? 0));
  }
  return affected;
}
