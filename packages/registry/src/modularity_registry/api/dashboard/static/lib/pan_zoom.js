// Moves and scales a picture by pointer, wheel, fingers and keys.

const MOST = 3; // pixels of the screen for one of the picture
const LEAST = 1 / 1.4; // below that names can't be read
const STEP = 1.3;
const STILL = 4; // pixels that a click may move

export class PanZoom {
  #svg;
  #box = { x: 0, y: 0, width: 1, height: 1 };
  #whole = { x: 0, y: 0, width: 1, height: 1 };
  #pointers = new Map();
  #moved = false;
  touched = false;

  constructor(svg) {
    this.#svg = svg;
    svg.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    svg.addEventListener("pointerdown", (event) => this.#down(event));
    svg.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, (event) => this.#up(event));
    svg.addEventListener("click", (event) => this.#click(event), { capture: true });
    svg.addEventListener("dragstart", (event) => event.preventDefault());
    svg.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => (this.touched ? this.#show() : this.fit())).observe(svg);
  }

  /** Say how large the picture is; it is shown whole until somebody moves it. */
  size(width, height) {
    const margin = 28;
    this.#whole = { x: -margin, y: -margin, width: width + 2 * margin, height: height + 2 * margin };
    if (!this.touched) this.fit();
  }

  /** Show it from its left side, as large as can be read; or all of it, however small. */
  fit(all = false) {
    const { clientWidth, clientHeight } = this.#svg;
    if (!clientWidth || !clientHeight) return;
    const { x, y, width, height } = this.#whole;
    // A small one is not blown up.
    const whole = Math.max(width / clientWidth, height / clientHeight, 0.9);
    const scale = all ? whole : Math.min(whole, 1 / LEAST);
    const across = clientWidth * scale;
    const along = clientHeight * scale;
    this.#box = { x: x + Math.min(0, (width - across) / 2), y: y + (height - along) / 2, width: across, height: along };
    this.touched = all;
    this.#show();
  }

  zoom(factor, at = null) {
    const { clientWidth, clientHeight } = this.#svg;
    const widest = Math.max(this.#whole.width, clientWidth) * 2;
    const width = Math.min(widest, Math.max(clientWidth / MOST, this.#box.width / factor));
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
    this.#show();
  }

  /** Move so that this place of the picture is visible. */
  reveal(x, y) {
    const { x: left, y: top, width, height } = this.#box;
    if (x > left && x < left + width && y > top && y < top + height) return;
    this.#box = { x: x - width / 2, y: y - height / 2, width, height };
    this.touched = true;
    this.#show();
  }

  #show() {
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
    this.#show();
  }

  #place(event) {
    const { left, top } = this.#svg.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  #wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * 0.002), this.#place(event));
  }

  #down(event) {
    if (event.button !== 0) return;
    this.#pointers.set(event.pointerId, { ...this.#place(event), from: this.#place(event) });
    this.#moved = false;
  }

  #move(event) {
    const known = this.#pointers.get(event.pointerId);
    if (!known) return;
    const now = this.#place(event);
    if (!this.#moved && Math.hypot(now.x - known.from.x, now.y - known.from.y) < STILL) return;
    if (!this.#moved) this.#svg.setPointerCapture(event.pointerId);
    this.#moved = true;
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    if (others.length === 1) {
      const [, other] = others[0];
      const before = Math.hypot(known.x - other.x, known.y - other.y);
      const after = Math.hypot(now.x - other.x, now.y - other.y);
      this.zoom(after / Math.max(1, before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    }
    this.#pan((now.x - known.x) / (others.length + 1), (now.y - known.y) / (others.length + 1));
    Object.assign(known, now);
  }

  #up(event) {
    this.#pointers.delete(event.pointerId);
  }

  #click(event) {
    // The end of a drag is no click.
    if (this.#moved) {
      event.preventDefault();
      event.stopPropagation();
      this.#moved = false;
    }
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const actions = {
      "+": () => this.zoom(STEP),
      "=": () => this.zoom(STEP),
      "-": () => this.zoom(1 / STEP),
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
