// A list of any length that renders only the visible rows, with keyboard navigation.

import { h } from "./dom.js";

const OVERSCAN = 6; // rows rendered above and below the visible ones

export class VirtualList {
  #items = [];
  #rows = new Map(); // by key: { item, index, element }
  #active = 0;
  #height = 0;
  #scroller;
  #head;
  #sizer;
  #key;
  #renderCells;
  #open;
  #renderScheduled = false;

  /**
   * `renderCells(item)` returns a row's cells, `key(item)` its key. A click or Enter calls
   * `open(item)`. `head` is the row of column headers.
   */
  constructor({ label, head, renderCells, key, open }) {
    this.#renderCells = renderCells;
    this.#key = key;
    this.#open = open;
    this.#sizer = h("div", { class: "sizer", role: "rowgroup" });
    this.#head = h("div", { role: "rowgroup", class: "head" }, head);
    this.#scroller = h("div", { class: "scroller", tabindex: -1, role: "grid", "aria-label": label, "aria-readonly": "true" }, this.#head, this.#sizer);
    this.element = h("div", { class: "grid" }, this.#scroller);
    this.#scroller.addEventListener("scroll", () => this.#scheduleRender(), { passive: true });
    this.#sizer.addEventListener("keydown", (event) => this.#onKeydown(event));
    this.#sizer.addEventListener("click", (event) => this.#onClick(event));
    this.#sizer.addEventListener("focusin", (event) => this.#onFocus(event));
    new ResizeObserver(() => this.#scheduleRender()).observe(this.#scroller);
  }

  /** Show these items, in this order. */
  set(items) {
    const active = this.#items[this.#active];
    this.#items = items;
    const inUse = this.#active > 0 || this.element.contains(document.activeElement);
    if (active !== undefined && inUse) {
      // The active row stays the same, wherever it is now.
      const key = this.#key(active);
      const inPlace = this.#key(items[this.#active] ?? active) === key && this.#active < items.length;
      if (!inPlace) this.#active = Math.max(0, items.findIndex((item) => this.#key(item) === key));
    }
    this.#scroller.setAttribute("aria-rowcount", items.length + 1);
    this.render();
  }

  scrollToTop() {
    this.#scroller.scrollTop = 0;
    this.#active = 0;
    this.render();
  }

  /** Put the focus on the row that had it last. */
  focus() {
    this.render();
    this.#rows.get(this.#activeKey())?.element.focus();
  }

  #scheduleRender() {
    if (this.#renderScheduled) return;
    this.#renderScheduled = true;
    requestAnimationFrame(() => {
      this.#renderScheduled = false;
      this.render();
    });
  }

  render() {
    const height = Number.parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 52;
    const heightChanged = height !== this.#height;
    this.#height = height;
    this.#sizer.style.height = `${this.#items.length * height}px`;
    const { scrollTop, clientHeight } = this.#scroller;
    const first = Math.max(0, Math.floor(scrollTop / height) - OVERSCAN);
    const last = Math.min(this.#items.length, Math.ceil((scrollTop + clientHeight) / height) + OVERSCAN);
    const indexes = new Set();
    for (let index = first; index < last; index += 1) indexes.add(index);
    // Without its element the active row would lose the focus.
    if (this.#active < this.#items.length) indexes.add(this.#active);
    const rows = new Map();
    for (const index of indexes) {
      const item = this.#items[index];
      const key = this.#key(item);
      rows.set(key, this.#updateRow(this.#rows.get(key), item, index, heightChanged));
      this.#rows.delete(key);
    }
    for (const { element } of this.#rows.values()) element.remove();
    this.#rows = rows;
    this.#orderElements();
  }

  /** Put the rows' elements in the order of the items, as screen readers need it. */
  #orderElements() {
    const focused = document.activeElement;
    let previous = null;
    for (const { element } of [...this.#rows.values()].sort((a, b) => a.index - b.index)) {
      if (previous === null ? this.#sizer.firstChild !== element : previous.nextSibling !== element) {
        if (previous === null) this.#sizer.prepend(element);
        else previous.after(element);
      }
      previous = element;
    }
    // An element that is moved loses the focus.
    if (focused !== document.activeElement && this.#sizer.contains(focused)) focused.focus({ preventScroll: true });
  }

  #updateRow(row, item, index, heightChanged) {
    const updated = row ?? { item: null, index: -1, element: this.#row() };
    const { element } = updated;
    if (updated.item !== item) element.replaceChildren(...this.#renderCells(item));
    if (updated.item !== item) element.dataset.status = item.service?.status ?? "";
    if (updated.index !== index || heightChanged) {
      element.style.transform = `translateY(${index * this.#height}px)`;
      element.setAttribute("aria-rowindex", index + 2);
    }
    element.tabIndex = index === this.#active ? 0 : -1;
    updated.item = item;
    updated.index = index;
    if (!row) element.dataset.key = this.#key(item);
    return updated;
  }

  #row() {
    return h("div", { class: "row", role: "row" });
  }

  #activeKey() {
    const item = this.#items[this.#active];
    return item === undefined ? "" : this.#key(item);
  }

  #rowOf(event) {
    const element = event.target.closest(".row");
    return element ? this.#rows.get(element.dataset.key) : undefined;
  }

  #onClick(event) {
    const row = this.#rowOf(event);
    const selection = getSelection()?.toString();
    if (!row || selection || event.target.closest("a") || event.ctrlKey || event.metaKey) return;
    this.#open(row.item);
  }

  #onFocus(event) {
    const row = this.#rowOf(event);
    if (!row || row.index === this.#active) return;
    const previous = this.#rows.get(this.#activeKey());
    if (previous) previous.element.tabIndex = -1;
    this.#active = row.index;
    row.element.tabIndex = 0;
  }

  #onKeydown(event) {
    const page = Math.max(1, Math.floor(this.#rowsHeight() / this.#height) - 1);
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
      this.#scrollToActive();
      this.focus();
    }
  }

  #scrollToActive() {
    const { scrollTop } = this.#scroller;
    const top = this.#active * this.#height;
    if (top < scrollTop) this.#scroller.scrollTop = top;
    else if (top + this.#height > scrollTop + this.#rowsHeight()) {
      this.#scroller.scrollTop = top + this.#height - this.#rowsHeight();
    }
  }

  /** The height for rows, without the sticky head. */
  #rowsHeight() {
    return this.#scroller.clientHeight - this.#head.offsetHeight;
  }
}
