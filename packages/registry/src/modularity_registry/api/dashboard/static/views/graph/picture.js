// Draws the call graph: boxes, lines, and a frame around the boxes of an open group.

import { svg } from "../../lib/dom.js";
import { routes } from "../../lib/edge_routes.js";
import { count, perSecond, percent, plural } from "../../lib/format.js";
import { layout } from "../../lib/graph_layout.js";
import { compareNames } from "./model.js";
import { HEAD, PADDING } from "./sizes.js";

const TRIANGLE = "M5 0L10 9H0z";
const DASHED_TRIANGLE = "M5 0L10 9H0zM5 3.2L2.6 7.6H7.4z";
const PILE = 3; // how far the lower of two boxes is seen
const measure = new OffscreenCanvas(1, 1).getContext("2d");

/**
 * Return `{ elements, width, height, positions }` for boxes and connections. `select(key)`
 * is called when a box, a line or a group's name is clicked.
 */
export function drawGraph(boxes, connections, { size, width, height, font, dense, select }) {
  const items = itemsOf(boxes, size);
  const itemOf = new Map(items.flatMap((item) => item.boxes.map(({ key }) => [key, item.id])));
  const edges = connections.map(({ from, to }) => ({ from: itemOf.get(from), to: itemOf.get(to) }));
  const drawing = layout(items, edges, { ...size, width, height });
  const placed = new Map(drawing.ranks.flat().map((item) => [item.id, item]));
  const positions = new Map(items.flatMap((item) => boxPositions(item, placed.get(item.id), size)));
  const paths = routes(connections, positions, drawing.ranks, size.down);
  const names = new Map(boxes.map(({ key, label }) => [key, label]));
  // The Tab key goes through the boxes as one reads them.
  const place = ({ key }) => positions.get(key);
  const inOrder = [...boxes].sort((a, b) => place(a).rank - place(b).rank || place(a).y - place(b).y || place(a).x - place(b).x);
  const elements = [
    arrowHeads(),
    svg("g", { class: "groups" }, items.filter(({ group }) => group).map((item) => groupElement(item, placed.get(item.id), { size, font, select }))),
    svg("g", { class: "lines" }, connections.map((connection, index) => lineElement(connection, paths[index], { names, dense, select }))),
    svg("g", { class: "boxes" }, inOrder.map((box) => boxElement(box, positions.get(box.key), { size, font, select }))),
  ];
  return { elements, width: drawing.width, height: drawing.height, positions };
}

/** What is laid out: boxes, and open groups with all of theirs. */
function itemsOf(boxes, size) {
  const items = new Map();
  for (const box of boxes) {
    const id = box.group?.key ?? box.key;
    if (!items.has(id)) items.set(id, { id, group: box.group, boxes: [] });
    items.get(id).boxes.push(box);
  }
  // The rest of a group comes last.
  const order = (a, b) => (b.level === "poor") - (a.level === "poor") || (a.instances.length > 1) - (b.instances.length > 1) || compareNames(a.label, b.label);
  for (const item of items.values()) item.boxes.sort(order);
  return [...items.values()].map((item) => ({ ...item, width: size.width, height: item.group ? HEAD + PADDING + item.boxes.length * (size.height + PADDING) : size.height }));
}

function boxPositions(item, { x, y, rank }, size) {
  if (!item.group) return [[item.id, { x, y, rank, width: size.width, height: size.height }]];
  return item.boxes.map(({ key }, index) => [
    key,
    { x: x + PADDING, y: y + HEAD + PADDING + index * (size.height + PADDING), rank, width: size.width - 2 * PADDING, height: size.height },
  ]);
}

function arrowHeads() {
  const arrowHead = (level) =>
    svg(
      "marker",
      { id: `head-${level}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto", "data-level": level },
      svg("path", { d: "M0 .5L8 4L0 7.5z" }),
    );
  return svg("defs", null, ["good", "fair", "poor"].map(arrowHead));
}

/** From 1.6 for no calls to 6 for a thousand a second, by the logarithm; thinner in a dense graph. */
function lineWidth({ rate, level }, dense) {
  const [least, step] = dense && level === "good" ? [0.9, 1.1] : [1.6, 1.5];
  return (least + step * Math.log10(1 + rate)).toFixed(2);
}

function lineElement(connection, d, { names, dense, select }) {
  const { key, from, to, level, rate, success } = connection;
  const title = `${names.get(from)} calls ${names.get(to)}: ${perSecond(rate)}, ${percent(success)} successful`;
  return svg(
    "g",
    { class: "line", "data-level": level, "data-key": key, "data-from": from, "data-to": to, onclick: () => select(key) },
    svg("title", null, title),
    svg("path", { class: "reach", d }),
    svg("path", { class: "stroke", d, "stroke-width": lineWidth(connection, dense), "marker-end": `url(#head-${level})` }),
  );
}

/** What a box says below its name: what fails, else its calls, those it gets first. */
export function stateOf(box) {
  const some = (number) => (box.instances.length > 1 ? `${count(number)} ` : "");
  if (box.unhealthy) return `${some(box.unhealthy)}unhealthy`;
  if (box.level !== "good") return `${percent(box.in.success)} OK`;
  if (box.warning) return `${some(box.warning)}warning`;
  if (box.draining) return `${some(box.draining)}draining`;
  if (!box.registered) return "not registered";
  if (box.incoming.length) return `${perSecond(box.in.rate)} in`;
  return box.outgoing.length ? `${perSecond(box.out.rate)} out` : "no calls";
}

function boxElement(box, { x, y, ...outer }, { size, font, select }) {
  const several = box.instances.length > 1;
  // Several look like a pile.
  const [width, height] = several ? [outer.width - PILE, outer.height - PILE] : [outer.width, outer.height];
  const state = stateOf(box);
  const badge = several && !box.key.startsWith("rest") ? `×${box.instances.length}` : "";
  const badgeWidth = badge ? textWidth(badge, `600 ${size.small}px ${font}`) + 8 : 0;
  const left = size.down ? 8 : 11;
  const failing = box.level !== "good";
  const middle = y + height / 2;
  const element = control(
    {
      class: "node",
      "data-key": box.key,
      "data-group": box.group?.key,
      "data-level": box.level,
      "data-registered": box.registered,
      "aria-label": [box.label, several ? plural(box.instances.length, "instance") : "", state].filter(Boolean).join(", "),
    },
    () => select(box.key),
    svg("title", null, [box.label, several ? plural(box.instances.length, "instance") : box.instances[0].id, state].join("\n")),
    several ? svg("rect", { class: "behind", x: x + PILE, y: y + PILE, width, height, rx: 8 }) : null,
    svg("rect", { class: "front", x, y, width, height, rx: 8 }),
    text("name", x + left, middle - 3.5, truncate(box.label, `600 ${size.name}px ${font}`, width - 2 * left - badgeWidth), size.name),
    badge ? svg("text", { class: "badge", x: x + width - left, y: middle - 3.5, "text-anchor": "end", "font-size": size.small }, badge) : null,
    failing ? svg("path", { class: "sign", d: box.level === "poor" ? TRIANGLE : DASHED_TRIANGLE, "fill-rule": "evenodd", transform: `translate(${x + left} ${middle + 4})` }) : null,
    text("state", x + left + (failing ? 14 : 0), middle + 12.5, truncate(state, `500 ${size.small}px ${font}`, width - 2 * left - (failing ? 14 : 0)), size.small),
  );
  return element;
}

function groupElement({ id, group }, { x, y, width, height }, { size, font, select }) {
  const label = truncate(group.label, `600 ${size.small}px ${font}`, width - 2 * PADDING - 26);
  return control(
    { class: "group", "data-key": id, "aria-label": `${group.label}, open group` },
    () => select(id),
    svg("rect", { x, y, width, height, rx: 10 }),
    text("name", x + PADDING + 2, y + HEAD - 4, `${label} ×${group.instances.length}`, size.small),
  );
}

const text = (name, x, y, content, fontSize) => svg("text", { class: name, x, y, "font-size": fontSize }, content);

/** An SVG group that works as a button. */
function control(properties, action, ...children) {
  const onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    action();
  };
  return svg("g", { tabindex: 0, role: "button", onclick: action, onkeydown, ...properties }, children);
}

function textWidth(content, font) {
  measure.font = font;
  return measure.measureText(content).width;
}

/** The text, cut so that it is no wider than `width`. */
function truncate(content, font, width) {
  if (textWidth(content, font) <= width) return content;
  const letters = [...content];
  let [fits, tooMany] = [0, letters.length];
  while (tooMany - fits > 1) {
    const half = (fits + tooMany) >> 1;
    if (textWidth(`${letters.slice(0, half).join("")}…`, font) <= width) fits = half;
    else tooMany = half;
  }
  return `${letters.slice(0, fits).join("")}…`;
}
