// A list of any length of which only the visible rows exist, moved through by keys.

import { h } from "./dom.js";

const SPARE = 6; // rows drawn above and below what is visible

export class Windowed {
  #items = [];
  #rows = new Map(); // by key: { item, index, element }
  #active = 0;
  #height = 0;
  #scroller;
  #head;
  #sizer;
  #key;
  #draw;
  #open;
  #drawing = false;

  /**
   * `draw(item)` makes a row's cells, `key(item)` names it, `open(item)` is called for a
   * row that is clicked or entered; `head` is the row of column headers.
   */
  constructor({ label, head, draw, key, open }) {
    this.#draw = draw;
    this.#key = key;
    this.#open = open;
    this.#sizer = h("div", { class: "sizer", role: "rowgroup" });
    this.#head = h("div", { role: "rowgroup", class: "head" }, head);
    this.#scroller = h("div", { class: "scroller", tabindex: -1, role: "presentation" }, this.#head, this.#sizer);
    this.element = h(
      "div",
      { class: "grid", role: "grid", "aria-label": label, "aria-readonly": "true" },
      this.#scroller,
    );
    this.#scroller.addEventListener("scroll", () => this.#later(), { passive: true });
    this.#sizer.addEventListener("keydown", (event) => this.#move(event));
    this.#sizer.addEventListener("click", (event) => this.#click(event));
    this.#sizer.addEventListener("focusin", (event) => this.#focused(event));
    new ResizeObserver(() => this.#later()).observe(this.#scroller);
  }

  /** Show these items, in this order. */
  set(items) {
    const active = this.#items[this.#active];
    this.#items = items;
    if (active !== undefined) {
      // The row that the keys are at stays the same, wherever it is now.
      const key = this.#key(active);
      const at = this.#key(items[this.#active] ?? active) === key && this.#active < items.length;
      if (!at) this.#active = Math.max(0, items.findIndex((item) => this.#key(item) === key));
    }
    this.element.setAttribute("aria-rowcount", items.length + 1);
    this.render();
  }

  top() {
    this.#scroller.scrollTop = 0;
    this.#active = 0;
    this.render();
  }

  /** Put the focus on the row that had it last. */
  focus() {
    this.render();
    this.#rows.get(this.#activeKey())?.element.focus();
  }

  #later() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.render();
    });
  }

  render() {
    const height = Number.parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 52;
    const moved = height !== this.#height;
    this.#height = height;
    this.#sizer.style.height = `${this.#items.length * height}px`;
    const { scrollTop, clientHeight } = this.#scroller;
    const first = Math.max(0, Math.floor(scrollTop / height) - SPARE);
    const last = Math.min(this.#items.length, Math.ceil((scrollTop + clientHeight) / height) + SPARE);
    const wanted = new Set();
    for (let index = first; index < last; index += 1) wanted.add(index);
    // A row that loses its element loses the focus with it.
    if (this.#active < this.#items.length) wanted.add(this.#active);
    const kept = new Map();
    for (const index of wanted) {
      const item = this.#items[index];
      const key = this.#key(item);
      kept.set(key, this.#place(this.#rows.get(key), item, index, moved));
      this.#rows.delete(key);
    }
    for (const { element } of this.#rows.values()) element.remove();
    this.#rows = kept;
    this.#line();
  }

  /** Bring the rows' elements into the order of what they show, as readers need it. */
  #line() {
    const focused = document.activeElement;
    let before = null;
    for (const { element } of [...this.#rows.values()].sort((a, b) => a.index - b.index)) {
      if (before === null ? this.#sizer.firstChild !== element : before.nextSibling !== element) {
        if (before === null) this.#sizer.prepend(element);
        else before.after(element);
      }
      before = element;
    }
    // What is moved loses the focus.
    if (focused !== document.activeElement && this.#sizer.contains(focused)) focused.focus({ preventScroll: true });
  }

  #place(row, item, index, moved) {
    const found = row ?? { item: null, index: -1, element: this.#row() };
    const { element } = found;
    if (found.item !== item) element.replaceChildren(...this.#draw(item));
    if (found.item !== item) element.dataset.status = item.service?.status ?? "";
    if (found.index !== index || moved) {
      element.style.transform = `translateY(${index * this.#height}px)`;
      element.setAttribute("aria-rowindex", index + 2);
    }
    element.tabIndex = index === this.#active ? 0 : -1;
    found.item = item;
    found.index = index;
    if (!row) element.dataset.key = this.#key(item);
    return found;
  }

  #row() {
    return h("div", { class: "row", role: "row" });
  }

  #activeKey() {
    const item = this.#items[this.#active];
    return item === undefined ? "" : this.#key(item);
  }

  #found(event) {
    const element = event.target.closest(".row");
    return element ? this.#rows.get(element.dataset.key) : undefined;
  }

  #click(event) {
    const row = this.#found(event);
    const chosen = getSelection()?.toString();
    if (!row || chosen || event.target.closest("a") || event.ctrlKey || event.metaKey) return;
    this.#open(row.item);
  }

  #focused(event) {
    const row = this.#found(event);
    if (!row || row.index === this.#active) return;
    const before = this.#rows.get(this.#activeKey());
    if (before) before.element.tabIndex = -1;
    this.#active = row.index;
    row.element.tabIndex = 0;
  }

  #move(event) {
    const page = Math.max(1, Math.floor(this.#visible() / this.#height) - 1);
    const end = this.#items.length - 1;
    const steps = {
      ArrowDown: this.#active + 1,
      ArrowUp: this.#active - 1,
      PageDown: this.#active + page,
      PageUp: this.#active - page,
      Home: 0,
      End: end,
    };
    if (event.key === "Enter" && event.target.classList.contains("row")) {
      event.preventDefault();
      this.#open(this.#items[this.#active]);
    } else if (event.key in steps && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.#active = Math.min(end, Math.max(0, steps[event.key]));
      this.#show();
      this.focus();
    }
  }

  #show() {
    const { scrollTop } = this.#scroller;
    const top = this.#active * this.#height;
    if (top < scrollTop) this.#scroller.scrollTop = top;
    else if (top + this.#height > scrollTop + this.#visible()) {
      this.#scroller.scrollTop = top + this.#height - this.#visible();
    }
  }

  /** The height that is left for rows: the head stays where it is. */
  #visible() {
    return this.#scroller.clientHeight - this.#head.offsetHeight;
  }
}
