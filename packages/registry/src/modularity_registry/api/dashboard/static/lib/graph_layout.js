// Lays out a directed graph in ranks, callers before callees, within a given space.
//
// The steps are Sugiyama's (1981): reverse the edges that close a cycle, give each item a
// level by longest path, order each rank by the middle of its neighbours, straighten.
// In between, the levels are cut into the ranks that the space has room for, where the
// fewest edges stay within a rank. The same graph always gets the same picture.
//
// Ranks follow each other along the main axis: to the right, or down if `space.down`.

const SWEEPS = 14;
const MAX_RANK_GAP = 130;
const MAX_GAP = 40;

/**
 * Return `{ ranks, height, width }`: ranks of items in their order, each `{ id, rank, x, y,
 * width, height }` with its top left corner. Items have `id`, `width` and `height`; edges
 * `from` and `to`; the space `width`, `height`, `margin`, `gap` within a rank, `rankGap`, `down`.
 * What does not fit makes the picture higher than the space, never wider.
 */
export function layout(items, edges, { width, height, ...rest }) {
  const space = { ...rest, width: width - 2 * rest.margin, height: height - 2 * rest.margin };
  const axes = space.down ? DOWN : RIGHT;
  const places = items.map((item) => ({ ...item, main: item[axes.main], cross: item[axes.cross], at: 0, neighbours: [] }));
  places.sort((a, b) => (a.id < b.id ? -1 : 1));
  const pairs = distinctPairs(places, edges);
  const limits = limitsOf(places, space, axes);
  const ranks = cutIntoRanks(callersFirst(places, pairs), pairs, limits);
  ranks.forEach((rank, index) => rank.forEach((place) => (place.rank = index)));
  orderRanks(ranks, limits);
  return coordinates(ranks, space, axes);
}

/** How many ranks there may be, and how long each. Downwards, there may be more than fit. */
function limitsOf(places, space, axes) {
  const thickest = Math.max(...places.map(({ main }) => main));
  const fitting = Math.max(1, Math.floor((space[axes.main] + space.rankGap) / (thickest + space.rankGap)));
  const total = places.reduce((sum, { cross }) => sum + cross + space.gap, 0);
  const needed = space.down ? Math.ceil((total / space.width) * 1.2) : 0;
  return { ranks: Math.max(fitting, needed), cross: space[axes.cross], gap: space.gap };
}

const RIGHT = { main: "width", cross: "height" };
const DOWN = { main: "height", cross: "width" };

function distinctPairs(places, edges) {
  const byId = new Map(places.map((place) => [place.id, place]));
  const unique = new Map();
  for (const edge of edges) {
    const from = byId.get(edge.from);
    const to = byId.get(edge.to);
    if (from && to && from !== to) unique.set(JSON.stringify([edge.from, edge.to]), { from, to });
  }
  const pairs = [...unique.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, pair]) => pair);
  for (const { from, to } of pairs) {
    from.neighbours.push(to);
    to.neighbours.push(from);
  }
  return pairs;
}

/** All places by level, one more than the last of their callers; unconnected ones last. */
function callersFirst(places, pairs) {
  const back = backEdges(places, pairs);
  const forward = pairs.map((pair) => (back.has(pair) ? { from: pair.to, to: pair.from } : pair));
  const next = groupBy(forward, "from");
  const callers = groupBy(forward, "to");
  const waiting = new Map(places.map((place) => [place, callers.get(place)?.length ?? 0]));
  const ready = places.filter((place) => waiting.get(place) === 0);
  for (const place of places) place.level = place.neighbours.length ? 0 : Infinity;
  const sequence = [];
  while (ready.length) {
    const place = ready.shift();
    sequence.push(place);
    for (const { to } of next.get(place) ?? []) {
      to.level = Math.max(to.level, place.level + 1);
      waiting.set(to, waiting.get(to) - 1);
      if (waiting.get(to) === 0) ready.push(to);
    }
  }
  return sequence.sort((a, b) => (a.level === b.level ? 0 : a.level - b.level));
}

/** The edges that close a cycle, by depth-first search. */
function backEdges(places, pairs) {
  const next = groupBy(pairs, "from");
  const callees = new Set(pairs.map(({ to }) => to));
  // Start at places without callers, so that they come first.
  const starts = [...places.filter((place) => !callees.has(place)), ...places];
  const state = new Map();
  const back = new Set();
  for (const start of starts) {
    if (state.has(start)) continue;
    const path = [[start, (next.get(start) ?? [])[Symbol.iterator]()]];
    state.set(start, "open");
    while (path.length) {
      const [place, following] = path.at(-1);
      const { done, value: pair } = following.next();
      if (done) {
        state.set(place, "closed");
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

/**
 * Cut the sequence into at most `limits.ranks` ranks that fit across, so that the fewest
 * edges stay within a rank, then so that the ranks are even. Of equals, the fewest ranks.
 */
function cutIntoRanks(sequence, pairs, limits) {
  const total = sequence.reduce((sum, place) => sum + place.cross + limits.gap, -limits.gap);
  const longest = Math.max(...sequence.map((place) => place.cross));
  const room = Math.max(limits.cross, longest, total / limits.ranks);
  // Where even ranks are too long, all of them grow.
  for (let factor = 1; ; factor *= 1.1) {
    const cuts = cheapestCuts(sequence, limits, room * factor);
    if (!cuts) continue;
    return cuts.map((cut, index) => sequence.slice(cuts[index - 1] ?? 0, cut));
  }
}

function cheapestCuts(sequence, limits, room) {
  const n = sequence.length;
  const cost = segmentCosts(sequence, limits, room);
  let rows = [{ cost: [0, ...Array(n).fill(Infinity)], from: [] }];
  let best = null;
  for (let ranks = 1; ranks <= Math.min(limits.ranks, n); ranks += 1) {
    const before = rows.at(-1).cost;
    const row = { cost: Array(n + 1).fill(Infinity), from: Array(n + 1).fill(0) };
    for (let end = ranks; end <= n; end += 1) {
      for (let start = end - 1; start >= ranks - 1 && cost[start][end] < Infinity; start -= 1) {
        const sum = before[start] + cost[start][end];
        if (sum < row.cost[end]) [row.cost[end], row.from[end]] = [sum, start];
      }
    }
    rows = [...rows, row];
    // Whole numbers are edges; the fraction is how uneven the ranks are.
    if (row.cost[n] < Infinity && (best === null || Math.floor(row.cost[n]) < Math.floor(rows[best].cost[n]))) best = ranks;
  }
  if (best === null) return null;
  const cuts = [n];
  for (let ranks = best; ranks > 1; ranks -= 1) cuts.unshift(rows[ranks].from[cuts[0]]);
  return cuts;
}

/** The cost of each `[start][end]`: the edges within, and how full the rank would be. */
function segmentCosts(sequence, limits, room) {
  const n = sequence.length;
  const index = new Map(sequence.map((place, position) => [place, position]));
  const partners = sequence.map((place) => place.neighbours.map((other) => index.get(other)));
  const costs = Array.from({ length: n }, () => Array(n + 1).fill(Infinity));
  for (let end = 1; end <= n; end += 1) {
    let within = 0;
    let length = -limits.gap;
    for (let start = end - 1; start >= 0; start -= 1) {
      length += sequence[start].cross + limits.gap;
      if (length > room + 0.5) break;
      within += partners[start].filter((position) => position > start && position < end).length;
      costs[start][end] = within + 0.99 * (length / room) ** 2 / n;
    }
  }
  return costs;
}

/** Order each rank by where its neighbours are, and keep the order with the shortest edges. */
function orderRanks(ranks, { gap }) {
  ranks.forEach((rank) => stack(rank, gap));
  let shortest = Infinity;
  let best = ranks.map((rank) => [...rank]);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const rank of sweep % 2 ? [...ranks].reverse() : ranks) {
      const middle = new Map(rank.map((place) => [place, mean(place, sweep % 2)]));
      rank.sort((a, b) => middle.get(a) - middle.get(b) || (a.id < b.id ? -1 : 1));
      stack(rank, gap);
    }
    const length = ranks.flat().reduce((sum, place) => sum + place.neighbours.reduce((part, other) => part + Math.abs(other.at - place.at), 0), 0);
    if (length < shortest) [shortest, best] = [length, ranks.map((rank) => [...rank])];
  }
  best.forEach((rank, index) => {
    ranks[index] = rank;
    stack(rank, gap);
  });
}

/** Put places one after the other, around the middle. */
function stack(rank, gap) {
  let at = 0;
  rank.forEach((place, index) => {
    at += index ? (rank[index - 1].cross + place.cross) / 2 + gap : 0;
    place.at = at;
  });
  for (const place of rank) place.at -= at / 2;
}

/** The middle of a place's neighbours in later ranks, or in earlier ones. */
function mean(place, later) {
  const others = place.neighbours.filter(({ rank }) => (later ? rank > place.rank : rank < place.rank));
  return others.length ? others.reduce((sum, { at }) => sum + at, 0) / others.length : place.at;
}

function coordinates(ranks, space, axes) {
  const thickness = ranks.map((rank) => Math.max(...rank.map((place) => place.main)));
  const thick = thickness.reduce((sum, value) => sum + value, 0);
  const rankGap = between(space.rankGap, (space[axes.main] - thick) / Math.max(1, ranks.length - 1), MAX_RANK_GAP);
  const length = Math.max(space[axes.cross], ...ranks.map((rank) => lengthOf(rank) + space.gap * (rank.length - 1)));
  // A rank with few items has larger gaps: there is room for lines in them.
  const gaps = ranks.map((rank) => between(space.gap, (length - lengthOf(rank)) / Math.max(1, rank.length - 1), MAX_GAP));
  ranks.forEach((rank, index) => stack(rank, gaps[index]));
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const rank of sweep % 2 ? ranks : [...ranks].reverse()) straighten(rank, sweep % 2 === 0, gaps[rank[0].rank], length);
  }
  center(ranks.flat());
  const whole = thick + rankGap * (ranks.length - 1);
  let main = space.margin + Math.max(0, (space[axes.main] - whole) / 2);
  const placed = ranks.map((rank, index) => {
    const start = main;
    main += thickness[index] + rankGap;
    return rank.map((place) => placeItem(place, start, space.margin + place.at + (length - place.cross) / 2, space.down));
  });
  return { ranks: placed, [axes.main]: Math.max(space[axes.main], whole) + 2 * space.margin, [axes.cross]: length + 2 * space.margin };
}

/** Straightening may have moved all places towards one side. */
function center(places) {
  const shift = (Math.min(...places.map(({ at, cross }) => at - cross / 2)) + Math.max(...places.map(({ at, cross }) => at + cross / 2))) / 2;
  for (const place of places) place.at -= shift;
}

const lengthOf = (rank) => rank.reduce((sum, { cross }) => sum + cross, 0);

const between = (least, value, most) => Math.max(least, Math.min(value, most));

function placeItem({ id, width, height, rank }, main, cross, down) {
  return { id, rank, width, height, x: down ? cross : main, y: down ? main : cross };
}

/** Move places towards their neighbours as far as order, gaps and the length allow. */
function straighten(rank, later, gap, length) {
  const apart = (index) => (rank[index].cross + rank[index + 1].cross) / 2 + gap;
  const low = rank.map((place) => mean(place, later));
  const high = [...low];
  for (let index = 1; index < rank.length; index += 1) low[index] = Math.max(low[index], low[index - 1] + apart(index - 1));
  for (let index = rank.length - 2; index >= 0; index -= 1) high[index] = Math.min(high[index], high[index + 1] - apart(index));
  const at = rank.map((_, index) => (low[index] + high[index]) / 2);
  // Back inside, without giving up the gaps.
  rank.forEach((place, index) => {
    at[index] = Math.max(at[index], (place.cross - length) / 2, index ? at[index - 1] + apart(index - 1) : -Infinity);
  });
  for (let index = rank.length - 1; index >= 0; index -= 1) {
    const most = index < rank.length - 1 ? at[index + 1] - apart(index) : Infinity;
    at[index] = Math.min(at[index], (length - rank[index].cross) / 2, most);
    rank[index].at = at[index];
  }
}
