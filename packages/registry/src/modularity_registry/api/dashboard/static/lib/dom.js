// Creates elements. Text becomes text nodes only: no stored text is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null));
  return element;
}

/** An HTML element; properties named `on...` are listeners, the others attributes. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An SVG element, with the same arguments. */
export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

const ICONS = {
  search: "M7 2.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 0 0 0-9M10.4 10.4L14 14",
  sun: "M8 5a3 3 0 1 0 0 6a3 3 0 0 0 0-6M8 1v1.4M8 13.6V15M1 8h1.4M13.6 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13.5 9.8A5.8 5.8 0 0 1 6.2 2.5a5.8 5.8 0 1 0 7.3 7.3",
  key: "M5.5 7.5a3 3 0 1 0 0 6a3 3 0 0 0 0-6M7.7 8.3L13.5 2.5M11 5l2 2",
  back: "M9.5 3L4.5 8l5 5",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  close: "M4 4l8 8M12 4l-8 8",
};

/** A 16 by 16 icon, hidden from screen readers. */
export function icon(name) {
  return svg(
    "svg",
    { class: "drawn", viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { d: ICONS[name] }),
  );
}

const MARKS = {
  healthy: { d: "M6 1a5 5 0 1 0 0 10a5 5 0 0 0 0-10" },
  warning: { d: "M6 .4L11.6 6L6 11.6L.4 6z" },
  unhealthy: { d: "M6 .6L11.6 11H.4z" },
  draining: { d: "M6 1a5 5 0 1 0 0 10a5 5 0 0 0 0-10M6 3a3 3 0 0 0 0 6z" },
  unknown: { d: "M1 5h10v2H1z" },
};

/** A status as a mark of its own shape, so that colour is not the only difference. */
export function mark(status) {
  return svg(
    "svg",
    { class: "mark", viewBox: "0 0 12 12", "aria-hidden": "true" },
    svg("path", { d: (MARKS[status] ?? MARKS.unknown).d, "fill-rule": "evenodd" }),
  );
}

/** A status as mark and word. */
export function badge(status, word = status) {
  return h("span", { class: "status", "data-status": status }, mark(status), word);
}

/** Stored text within a sentence, so that right-to-left text does not reorder the rest. */
export const isolated = (text) => h("bdi", null, text);

/** Names and values, one under the other. */
export const factList = (pairs) =>
  h("dl", { class: "facts" }, pairs.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));

/** A command with a button that copies it. */
export function copyable(command) {
  const code = h("code", null, command);
  const button = h("button", { class: "button", type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    // Without HTTPS only pages of this machine may write to the clipboard.
    try {
      await navigator.clipboard.writeText(command);
      setText(button, "Copied");
    } catch {
      getSelection().selectAllChildren(code);
      setText(button, "Selected");
    }
  });
  return h("p", { class: "command" }, code, button);
}

/** Set the text unless it is there already, so that a selection survives. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A table of the given column names and rows of cells; the caption is for screen readers. */
export function table(caption, columns, rows) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      { class: "plain" },
      h("caption", { class: "unseen" }, caption),
      h("thead", null, h("tr", null, columns.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", null, rows.map((row) => h("tr", null, row.map((cell) => h("td", null, cell))))),
    ),
  );
}
