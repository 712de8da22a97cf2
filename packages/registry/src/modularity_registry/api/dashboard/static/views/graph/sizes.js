// How large boxes are, so that they fit the frame at a scale of 1 with readable text.

const LARGE = { width: 184, height: 48, gap: 18, rankGap: 72, name: 13.5, small: 12, margin: 16 };
const MEDIUM = { width: 162, height: 42, gap: 14, rankGap: 54, name: 12.5, small: 11.5, margin: 16 };
const SMALL = { width: 140, height: 36, gap: 10, rankGap: 36, name: 12, small: 11.5, margin: 16 };
const NARROW = { width: 108, height: 38, gap: 10, rankGap: 28, name: 11.5, small: 11.5, margin: 8, down: true };

const PHONE = 600; // below this width callers are above their callees
const LIGHT = 0.72; // the share of the room that large boxes may take
const FULL = 0.85; // and the smallest ones

export const HEAD = 20; // the height of an open group's name
export const PADDING = 7; // around an open group's instances
export const MAX_ALL = 300; // boxes drawn when all are asked for

/** The largest size of boxes in which `count` fit the frame, and how many fit: `{ size, limit }`. */
export function sizeFor(count, width, height) {
  const choices = width < PHONE ? [NARROW] : [LARGE, MEDIUM, SMALL];
  const fitting = choices.find((size) => count <= room(size, width, height) * LIGHT);
  const size = fitting ?? choices.at(-1);
  return { size, limit: Math.max(4, Math.floor(room(size, width, height) * FULL)) };
}

function room(size, width, height) {
  const [columnGap, rowGap] = size.down ? [size.gap, size.rankGap] : [size.rankGap, size.gap];
  const columns = Math.floor((width - 2 * size.margin + columnGap) / (size.width + columnGap));
  const rows = Math.floor((height - 2 * size.margin + rowGap) / (size.height + rowGap));
  return Math.max(1, columns) * Math.max(1, rows);
}
