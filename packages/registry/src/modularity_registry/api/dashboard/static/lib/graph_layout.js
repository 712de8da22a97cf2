// Lays out the call graph in layers from left to right, callers before callees.
//
// The steps are Sugiyama's (1981): reverse the edges that close a cycle, layer by longest
// path, order each layer by the middle of its neighbours, then straighten. The same
// graph always gets the same picture.

export const WIDTH = 190;
export const HEIGHT = 48;
const LAYER_GAP = 96; // between layers
const NODE_GAP = 20; // between nodes of a layer
const EDGE_HEIGHT = 10; // the height that a passing edge takes
const SWEEPS = 12;

/**
 * Return `{ nodes, edges, width, height }`: nodes by id with `x`, `y` (their middles),
 * edges as given with `points`, from the caller's right side to the callee's left.
 */
export function layout(ids, edges) {
  const order = [...ids].sort();
  const pairs = distinct(edges);
  const reversed = backEdges(order, pairs);
  const forward = pairs.map((pair) => (reversed.has(pair) ? { ...pair, from: pair.to, to: pair.from, reversed: true } : pair));
  const layers = assignLayers(order, forward);
  const chains = forward.filter((pair) => pair.from !== pair.to).map((pair) => chain(pair, layers));
  const rows = orderLayers(order, layers, chains);
  return coordinates(rows, pairs, chains);
}

function distinct(edges) {
  const unique = new Map();
  for (const { from, to } of edges) unique.set(JSON.stringify([from, to]), { from, to });
  return [...unique.values()].sort((a, b) => (a.from + a.to < b.from + b.to ? -1 : 1));
}

/** The edges that close a cycle, by depth-first search. */
function backEdges(order, pairs) {
  const next = groupBy(pairs, "from");
  const callees = new Set(pairs.filter(({ from, to }) => from !== to).map(({ to }) => to));
  // Start at services without callers, so that they stay at the left.
  const starts = [...order.filter((id) => !callees.has(id)), ...order];
  const state = new Map();
  const back = new Set();
  for (const start of starts) {
    if (state.has(start)) continue;
    const path = [[start, (next.get(start) ?? [])[Symbol.iterator]()]];
    state.set(start, "open");
    while (path.length) {
      const [id, following] = path.at(-1);
      const { done, value: pair } = following.next();
      if (done) {
        state.set(id, "closed");
        path.pop();
      } else if (state.get(pair.to) === "open") {
        back.add(pair);
      } else if (!state.has(pair.to)) {
        state.set(pair.to, "open");
        path.push([pair.to, (next.get(pair.to) ?? [])[Symbol.iterator]()]);
      }
    }
  }
  return back;
}

function groupBy(pairs, side) {
  const groups = new Map();
  for (const pair of pairs) {
    if (!groups.has(pair[side])) groups.set(pair[side], []);
    groups.get(pair[side]).push(pair);
  }
  return groups;
}

/** Each node's layer: one to the right of the last of its callers. */
function assignLayers(order, forward) {
  const next = groupBy(forward, "from");
  const unplaced = new Map(order.map((id) => [id, 0]));
  for (const { from, to } of forward) if (from !== to) unplaced.set(to, unplaced.get(to) + 1);
  const layers = new Map(order.map((id) => [id, 0]));
  const ready = order.filter((id) => unplaced.get(id) === 0);
  while (ready.length) {
    const id = ready.shift();
    for (const { to } of next.get(id) ?? []) {
      if (to === id) continue;
      layers.set(to, Math.max(layers.get(to), layers.get(id) + 1));
      unplaced.set(to, unplaced.get(to) - 1);
      if (unplaced.get(to) === 0) ready.push(to);
    }
  }
  return layers;
}

/** An edge as places, one in each layer that it passes. */
function chain(pair, layers) {
  const begin = layers.get(pair.from);
  const end = layers.get(pair.to);
  const places = [pair.from];
  for (let layer = begin + 1; layer < end; layer += 1) places.push(JSON.stringify([pair.from, pair.to, layer]));
  places.push(pair.to);
  return { pair, begin, places };
}

function orderLayers(order, layers, chains) {
  const rows = [];
  const put = (id, layer, node) => (rows[layer] ??= new Map()).set(id, { id, layer, node, before: [], after: [], y: 0 });
  for (const id of order) put(id, layers.get(id), true);
  for (const { begin, places } of chains) {
    places.slice(1, -1).forEach((id, index) => put(id, begin + 1 + index, false));
    for (let index = 1; index < places.length; index += 1) {
      const left = rows[begin + index - 1].get(places[index - 1]);
      const right = rows[begin + index].get(places[index]);
      left.after.push(right);
      right.before.push(left);
    }
  }
  const lists = rows.map((row) => [...row.values()]);
  lists.forEach(stack);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const side = sweep % 2 ? "after" : "before";
    for (const list of sweep % 2 ? [...lists].reverse() : lists) sortByNeighbours(list, side);
  }
  for (let sweep = 0; sweep < SWEEPS * 2; sweep += 1) {
    const side = sweep % 2 ? "before" : "after";
    for (const list of sweep % 2 ? lists : [...lists].reverse()) straighten(list, side);
  }
  return lists;
}

const heightOf = (place) => (place.node ? HEIGHT : EDGE_HEIGHT);
const gap = (above, below) => (heightOf(above) + heightOf(below)) / 2 + NODE_GAP;

/** Put a layer's places one under the other, around the middle. */
function stack(list) {
  let y = 0;
  list.forEach((place, index) => {
    y += index ? gap(list[index - 1], place) : 0;
    place.y = y;
  });
  for (const place of list) place.y -= y / 2;
}

function sortByNeighbours(list, side) {
  const middle = new Map(list.map((place) => [place, mean(place[side], place.y)]));
  list.sort((a, b) => middle.get(a) - middle.get(b) || (a.id < b.id ? -1 : 1));
  stack(list);
}

function mean(places, fallback) {
  return places.length ? places.reduce((sum, { y }) => sum + y, 0) / places.length : fallback;
}

/** Move places towards their neighbours as far as the order and the gaps allow. */
function straighten(list, side) {
  const targets = list.map((place) => mean(place[side], place.y));
  const down = [...targets];
  for (let index = 1; index < list.length; index += 1) {
    down[index] = Math.max(down[index], down[index - 1] + gap(list[index - 1], list[index]));
  }
  const up = [...targets];
  for (let index = list.length - 2; index >= 0; index -= 1) {
    up[index] = Math.min(up[index], up[index + 1] - gap(list[index], list[index + 1]));
  }
  list.forEach((place, index) => {
    place.y = (down[index] + up[index]) / 2;
  });
}

function coordinates(rows, pairs, chains) {
  const all = rows.flat();
  const top = Math.min(...all.map((place) => place.y - heightOf(place) / 2));
  const bottom = Math.max(...all.map((place) => place.y + heightOf(place) / 2));
  const positions = new Map(all.map((place) => [place.id, { x: place.layer * (WIDTH + LAYER_GAP) + WIDTH / 2, y: place.y - top, node: place.node }]));
  const edges = chains.map(({ pair, places }) => {
    const path = places.map((id) => positions.get(id));
    if (pair.reversed) return { from: pair.to, to: pair.from, reversed: true, points: path.reverse() };
    return { from: pair.from, to: pair.to, reversed: false, points: path };
  });
  for (const { from, to } of pairs) if (from === to) edges.push({ from, to, reversed: false, points: [positions.get(from)] });
  return { nodes: positions, edges, width: rows.length * (WIDTH + LAYER_GAP) - LAYER_GAP, height: bottom - top };
}
