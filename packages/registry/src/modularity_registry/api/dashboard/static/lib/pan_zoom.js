// Pans and zooms an SVG by pointer, wheel, touch and keys.

const MAX_SCALE = 3; // screen pixels per unit of the picture
const ZOOM_STEP = 1.3;
const EDGE = 8; // kept free around what is revealed
const CLICK_TOLERANCE = 4; // pixels that a click may move

export class PanZoom {
  #svg;
  #box = { x: 0, y: 0, width: 1, height: 1 };
  #picture = { x: 0, y: 0, width: 1, height: 1 };
  #pointers = new Map();
  #dragged = false;
  touched = false;

  constructor(svg) {
    this.#svg = svg;
    svg.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    svg.addEventListener("pointerdown", (event) => this.#onPointerDown(event));
    svg.addEventListener("pointermove", (event) => this.#onPointerMove(event));
    for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, (event) => this.#onPointerUp(event));
    svg.addEventListener("click", (event) => this.#onClick(event), { capture: true });
    svg.addEventListener("dragstart", (event) => event.preventDefault());
    svg.addEventListener("keydown", (event) => this.#onKeydown(event));
    new ResizeObserver(() => (this.touched ? this.#apply() : this.fit())).observe(svg);
  }

  /** Set the picture's size; the view fits it until the user pans or zooms. */
  size(width, height) {
    this.#picture = { x: 0, y: 0, width, height };
    if (!this.touched) this.fit();
  }

  /** Show the top left at a scale of 1, or with `all` the whole picture. */
  fit(all = false) {
    const { clientWidth, clientHeight } = this.#svg;
    if (!clientWidth || !clientHeight) return;
    const { x, y, width, height } = this.#picture;
    // A small picture is not enlarged.
    const scale = all ? Math.max(width / clientWidth, height / clientHeight, 1) : 1;
    const boxWidth = clientWidth * scale;
    const boxHeight = clientHeight * scale;
    this.#box = { x: x + Math.min(0, (width - boxWidth) / 2), y: y + Math.min(0, (height - boxHeight) / 2), width: boxWidth, height: boxHeight };
    this.touched = all;
    this.#apply();
  }

  zoom(factor, at = null) {
    const { clientWidth, clientHeight } = this.#svg;
    const widest = Math.max(this.#picture.width, clientWidth) * 2;
    const width = Math.min(widest, Math.max(clientWidth / MAX_SCALE, this.#box.width / factor));
    const ratio = width / this.#box.width;
    const point = at ?? { x: clientWidth / 2, y: clientHeight / 2 };
    const fx = point.x / clientWidth;
    const fy = point.y / clientHeight;
    const height = this.#box.height * ratio;
    this.#box = {
      x: this.#box.x + (this.#box.width - width) * fx,
      y: this.#box.y + (this.#box.height - height) * fy,
      width,
      height,
    };
    this.touched = true;
    this.#apply();
  }

  /**
   * Move as little as it takes to show this part of the picture. `cover` is a rectangle of
   * the screen that hides what is below it: at the right of the picture, or at its bottom.
   */
  reveal({ x, y, width, height }, cover = null) {
    const { left, top, right, bottom } = this.#svg.getBoundingClientRect();
    const hides = cover !== null && cover.width > 0;
    const atRight = hides && cover.left > left;
    const scale = this.#box.width / (right - left);
    const freeWidth = ((atRight ? cover.left : right) - left) * scale;
    const freeHeight = ((hides && !atRight ? Math.max(cover.top, top + height) : bottom) - top) * scale;
    this.#box.x = Math.min(x - EDGE, Math.max(this.#box.x, x + width + EDGE - freeWidth));
    this.#box.y = Math.min(y - EDGE, Math.max(this.#box.y, y + height + EDGE - freeHeight));
    this.#apply();
  }

  #apply() {
    const { x, y, width, height } = this.#box;
    const { clientWidth, clientHeight } = this.#svg;
    if (clientWidth) this.#box.height = width * (clientHeight / clientWidth);
    this.#svg.setAttribute("viewBox", `${x} ${y} ${width} ${this.#box.height || height}`);
  }

  #pan(dx, dy) {
    const scale = this.#box.width / this.#svg.clientWidth;
    this.#box.x -= dx * scale;
    this.#box.y -= dy * scale;
    this.touched = true;
    this.#apply();
  }

  #pointOf(event) {
    const { left, top } = this.#svg.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  #onWheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * 0.002), this.#pointOf(event));
  }

  #onPointerDown(event) {
    if (event.button !== 0) return;
    this.#pointers.set(event.pointerId, { ...this.#pointOf(event), from: this.#pointOf(event) });
    this.#dragged = false;
  }

  #onPointerMove(event) {
    const pointer = this.#pointers.get(event.pointerId);
    if (!pointer) return;
    const now = this.#pointOf(event);
    if (!this.#dragged && Math.hypot(now.x - pointer.from.x, now.y - pointer.from.y) < CLICK_TOLERANCE) return;
    if (!this.#dragged) this.#svg.setPointerCapture(event.pointerId);
    this.#dragged = true;
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    if (others.length === 1) {
      const [, other] = others[0];
      const before = Math.hypot(pointer.x - other.x, pointer.y - other.y);
      const after = Math.hypot(now.x - other.x, now.y - other.y);
      this.zoom(after / Math.max(1, before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    }
    this.#pan((now.x - pointer.x) / (others.length + 1), (now.y - pointer.y) / (others.length + 1));
    Object.assign(pointer, now);
  }

  #onPointerUp(event) {
    this.#pointers.delete(event.pointerId);
  }

  #onClick(event) {
    // The click at the end of a drag opens nothing.
    if (this.#dragged) {
      event.preventDefault();
      event.stopPropagation();
      this.#dragged = false;
    }
  }

  #onKeydown(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const actions = {
      "+": () => this.zoom(ZOOM_STEP),
      "=": () => this.zoom(ZOOM_STEP),
      "-": () => this.zoom(1 / ZOOM_STEP),
      0: () => this.fit(true),
      ArrowLeft: () => this.#pan(60, 0),
      ArrowRight: () => this.#pan(-60, 0),
      ArrowUp: () => this.#pan(0, 60),
      ArrowDown: () => this.#pan(0, -60),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
