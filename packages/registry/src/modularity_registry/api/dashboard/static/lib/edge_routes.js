// Draws the lines between the boxes of a layout as SVG paths.
//
// A line leaves and enters a box at a port of its own, and passes each rank on its way
// through the gap between two boxes that is nearest, so that it never crosses a box.

const PORT_GAP = 7; // between two lines at a box, at most
const LANE_GAP = 3; // between two lines in a gap, at most
const ARROW = 2; // the arrowhead ends before the box

/**
 * Return the path of each edge, in order. Boxes are by key, each `{ x, y, width, height,
 * rank }`; ranks are what `layout` returned; an edge has `from` and `to`.
 */
export function routes(edges, boxes, ranks, down) {
  const turn = (box) => (down ? { rank: box.rank, main: box.y, cross: box.x, thick: box.height, wide: box.width } : { rank: box.rank, main: box.x, cross: box.y, thick: box.width, wide: box.height });
  const turned = new Map([...boxes].map(([key, box]) => [key, turn(box)]));
  const lanes = ranks.map((rank) => lanesOf(rank.map(turn)));
  const drafts = edges.map(({ from, to }) => draft(turned.get(from), turned.get(to), lanes));
  drafts.forEach((line) => line.steps.forEach(({ lane }) => lane.lines.push(line)));
  spreadLanes(lanes.flatMap(({ gaps }) => gaps));
  spreadPorts(drafts);
  return drafts.map((line) => path(line, down));
}

const middle = (box) => box.cross + box.wide / 2;

/** The gaps of a rank, before, between and after its boxes, and where the rank is. */
function lanesOf(rank) {
  const start = Math.min(...rank.map(({ main }) => main));
  const end = Math.max(...rank.map(({ main, thick }) => main + thick));
  const sorted = [...rank].sort((a, b) => a.cross - b.cross);
  const gaps = sorted.slice(1).map((box, index) => {
    const from = sorted[index].cross + sorted[index].wide;
    return { at: (from + box.cross) / 2, room: box.cross - from, lines: [] };
  });
  const last = sorted.at(-1);
  gaps.unshift({ at: sorted[0].cross - 6, room: 10, lines: [] });
  gaps.push({ at: last.cross + last.wide + 6, room: 10, lines: [] });
  return { start, end, gaps };
}

function draft(from, to, lanes) {
  if (from === to) return { kind: "self", from, to, steps: [] };
  if (from.rank === to.rank) return { kind: "beside", from, to, steps: [] };
  const forward = to.rank > from.rank;
  const steps = [];
  let at = middle(from);
  for (let rank = from.rank + (forward ? 1 : -1); rank !== to.rank; rank += forward ? 1 : -1) {
    at += (middle(to) - at) / (Math.abs(to.rank - rank) + 1);
    const lane = nearest(lanes[rank].gaps, at);
    at = lane.at;
    steps.push({ lane, at, enter: forward ? lanes[rank].start : lanes[rank].end, leave: forward ? lanes[rank].end : lanes[rank].start });
  }
  return { kind: forward ? "forward" : "backward", from, to, steps };
}

const nearest = (gaps, at) => gaps.reduce((best, gap) => (Math.abs(gap.at - at) < Math.abs(best.at - at) ? gap : best));

/** Lay the lines of a gap beside each other. */
function spreadLanes(gaps) {
  for (const gap of gaps) {
    gap.lines.sort((a, b) => middle(a.from) + middle(a.to) - middle(b.from) - middle(b.to));
    const step = Math.min(LANE_GAP, (gap.room * 0.7) / Math.max(1, gap.lines.length));
    gap.lines.forEach((line, index) => {
      line.steps.find(({ lane }) => lane === gap).at = gap.at + (index - (gap.lines.length - 1) / 2) * step;
    });
  }
}

/** Give each line its own place on the sides of its boxes, in the order of the other ends. */
function spreadPorts(lines) {
  const sides = new Map();
  const attach = (box, side, line, end, towards) => {
    if (!sides.has(box)) sides.set(box, { start: [], end: [] });
    sides.get(box)[side].push({ line, end, towards });
  };
  for (const line of lines) {
    const { kind, from, to, steps } = line;
    if (kind === "self") continue;
    attach(from, kind === "backward" ? "start" : "end", line, "leaves", steps[0]?.at ?? middle(to));
    attach(to, kind === "forward" ? "start" : "end", line, "enters", steps.at(-1)?.at ?? middle(from));
  }
  for (const [box, both] of sides) {
    for (const ports of Object.values(both)) {
      ports.sort((a, b) => a.towards - b.towards);
      const step = Math.min(PORT_GAP, (box.wide * 0.75) / Math.max(1, ports.length));
      ports.forEach(({ line, end }, index) => {
        line[end] = middle(box) + (index - (ports.length - 1) / 2) * step;
      });
    }
  }
}

function path({ kind, from, to, steps, leaves, enters }, down) {
  const point = (main, cross) => (down ? `${round(cross)} ${round(main)}` : `${round(main)} ${round(cross)}`);
  const end = (box) => box.main + box.thick;
  if (kind === "self") {
    const [near, far] = [from.cross + from.wide * 0.3, from.cross + from.wide * 0.7];
    return `M${point(end(from), near)}C${point(end(from) + 16, near - 3)} ${point(end(from) + 16, far + 3)} ${point(end(from) + ARROW, far)}`;
  }
  if (kind === "beside") {
    const bow = Math.min(20, 10 + Math.abs(enters - leaves) / 8);
    return `M${point(end(from), leaves)}C${point(end(from) + bow, leaves)} ${point(end(to) + bow, enters)} ${point(end(to) + ARROW, enters)}`;
  }
  const forward = kind === "forward";
  let [main, cross] = [forward ? end(from) : from.main, leaves];
  let d = `M${point(main, cross)}`;
  const curveTo = (nextMain, nextCross) => {
    const bend = (nextMain - main) / 2;
    d += `C${point(main + bend, cross)} ${point(nextMain - bend, nextCross)} ${point(nextMain, nextCross)}`;
  };
  for (const { at, enter, leave } of steps) {
    curveTo(enter, at);
    d += `L${point(leave, at)}`;
    [main, cross] = [leave, at];
  }
  curveTo(forward ? to.main - ARROW : end(to) + ARROW, enters);
  return d;
}

const round = (value) => Math.round(value * 10) / 10;
