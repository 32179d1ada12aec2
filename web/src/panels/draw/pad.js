/**
 * The drawing pad: a canvas for mouse, touch and pen, and for the arrow keys.
 */
import { clamp } from "./clamp.js";
import { MAX } from "./strokes.js";
import { h, uniqueId } from "../../ui/dom.js";
import { imageCanvas } from "../../ui/image.js";

/** @typedef {import("./preprocess.js").Drawing} Drawing */
/** @typedef {import("./preprocess.js").ImageShape} ImageShape */
/** @typedef {import("./strokes.js").Stroke} Stroke */

/** Pixels of the longer side of the canvas. */
const SIDE = 336;
/** Units that an arrow key moves the cursor, and with the Shift key. */
const [NEAR, FAR] = [6, 24];
/** Points nearer than this to the one before are left out. */
const MIN_DISTANCE = 2;

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class DrawingPad {
  /** @type {Stroke[]} */
  strokes = [];
  /** Image below the strokes [C, H, W]. @type {Float32Array | null} */
  base = null;
  /** Of the next stroke, 1 to 255. */
  width = 22;
  /** Of the next stroke. @type {[number, number, number]} */
  color = [255, 255, 255];
  /** Stroke that is being drawn. @type {Stroke | null} */
  #stroke = null;
  /** Of the keyboard. @type {[number, number]} */
  #cursor = [MAX / 2, MAX / 2];

  /**
   * @param {ImageShape} shape of the images
   * @param {{onchange: () => void, announce: (text: string) => void}} page `onchange` follows every stroke
   */
  constructor(shape, { onchange, announce }) {
    this.shape = shape;
    this.onchange = onchange;
    this.announce = announce;
    const [, height, width] = shape;
    const scale = SIDE / Math.max(height, width);
    const id = uniqueId();
    this.canvas = h("canvas", {
      width: Math.round(width * scale),
      height: Math.round(height * scale),
      tabIndex: 0,
      role: "application",
      "aria-label": "Drawing pad",
      "aria-describedby": id,
    });
    this.marker = h("span", { class: "pad-marker", hidden: true, "aria-hidden": "true" });
    this.hint = h("span", { class: "pad-hint", "aria-hidden": "true" }, "Draw here");
    this.element = h(
      "div",
      { class: "pad" },
      h("div", { class: "pad-frame" }, this.canvas, this.marker, this.hint),
      h(
        "small",
        { id },
        "Mouse, finger or pen. Keyboard: ",
        h("kbd", {}, "arrow keys"),
        " move, ",
        h("kbd", {}, "Space"),
        " puts the pen down and lifts it.",
      ),
    );
    this.#listen();
    this.#redraw();
  }

  get isEmpty() {
    return !this.base && !this.strokes.length;
  }

  /**
   * Replaces the drawing.
   * @param {Float32Array | null} base
   * @param {Stroke[]} [strokes]
   */
  set(base, strokes = []) {
    this.base = base;
    this.strokes = strokes;
    this.#stroke = null;
    this.#redraw();
    this.onchange();
  }

  /** Takes the last stroke back, or else the image below. */
  undo() {
    if (this.strokes.length) this.set(this.base, this.strokes.slice(0, -1));
    else this.set(null);
  }

  /**
   * Returns what is drawn.
   * @returns {Drawing}
   */
  drawing() {
    const { width, height } = this.canvas;
    const { data } = this.#context.getImageData(0, 0, width, height);
    const channels = this.shape[0];
    const plane = width * height;
    const values = new Float32Array(channels * plane);
    for (let c = 0; c < channels; c++) for (let i = 0; i < plane; i++) values[c * plane + i] = data[4 * i + c] / 255;
    return { values, shape: [channels, height, width] };
  }

  get #context() {
    return /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d", { willReadFrequently: true }));
  }

  #redraw() {
    const context = this.#context;
    const { width, height } = this.canvas;
    context.fillStyle = "black";
    context.fillRect(0, 0, width, height);
    if (this.base) context.drawImage(imageCanvas(this.base, this.shape, ""), 0, 0, width, height);
    for (const stroke of this.strokes) this.#draw(stroke, 0);
    this.hint.hidden = !this.isEmpty;
  }

  /**
   * Draws a stroke from one of its points.
   * @param {Stroke} stroke
   * @param {number} from
   */
  #draw({ width, color, points }, from) {
    const context = this.#context;
    const { canvas } = this;
    context.lineWidth = (width / MAX) * Math.max(canvas.width, canvas.height);
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = `rgb(${color.join(" ")})`;
    context.beginPath();
    points.slice(from).forEach(([x, y], index) => {
      const position = /** @type {const} */ ([(x / MAX) * canvas.width, (y / MAX) * canvas.height]);
      if (index === 0) context.moveTo(...position);
      context.lineTo(...position); // also for a single point, which becomes a dot
    });
    context.stroke();
  }

  /** @param {[number, number]} point */
  #begin(point) {
    this.#stroke = { width: this.width, color: this.color, points: [point] };
    this.strokes = [...this.strokes, this.#stroke];
    this.hint.hidden = true;
    this.#draw(this.#stroke, 0);
  }

  /** @param {[number, number]} point */
  #extend(point) {
    const points = this.#stroke?.points;
    if (!this.#stroke || !points) return;
    const last = points[points.length - 1];
    if (Math.hypot(point[0] - last[0], point[1] - last[1]) < MIN_DISTANCE) return;
    points.push(point);
    this.#draw(this.#stroke, points.length - 2);
  }

  #end() {
    if (!this.#stroke) return;
    this.#stroke = null;
    this.#redraw(); // at once, as a restored drawing: a stroke drawn bit by bit has other edges
    this.onchange();
  }

  #listen() {
    const { canvas } = this;
    /** @param {PointerEvent} event @returns {[number, number]} */
    const pointOf = (event) => {
      const box = canvas.getBoundingClientRect();
      const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      return [toUnit(x), toUnit(y)];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.#stroke) return;
      canvas.setPointerCapture(event.pointerId);
      this.marker.hidden = true;
      this.#begin(pointOf(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      const moves = event.getCoalescedEvents?.() ?? [];
      for (const move of moves.length ? moves : [event]) this.#extend(pointOf(move));
    });
    for (const kind of /** @type {const} */ (["pointerup", "pointercancel"]))
      canvas.addEventListener(kind, () => this.#end());
    canvas.addEventListener("keydown", (event) => this.#press(event));
    canvas.addEventListener("blur", () => {
      this.marker.hidden = true;
      this.#end();
    });
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    const arrow = ARROWS[event.key];
    if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) this.undo();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (arrow) this.#move(arrow, event.shiftKey ? FAR : NEAR);
    else if (event.key === " ") this.#togglePen();
    else if (event.key === "Escape" && this.#stroke) this.#end();
    else return;
    event.preventDefault();
    this.#showMarker();
  }

  /**
   * @param {[number, number]} direction
   * @param {number} distance
   */
  #move([x, y], distance) {
    this.#cursor = [clamp(this.#cursor[0] + x * distance, 0, MAX), clamp(this.#cursor[1] + y * distance, 0, MAX)];
    if (this.#stroke) this.#extend(rounded(this.#cursor));
  }

  #togglePen() {
    if (this.#stroke) {
      this.#end();
      this.announce("Pen lifted.");
    } else {
      this.#begin(rounded(this.#cursor));
      const [x, y] = this.#cursor.map((unit) => Math.round((100 * unit) / MAX));
      this.announce(`Pen down, ${x} % from the left, ${y} % from the top.`);
    }
  }

  #showMarker() {
    this.marker.hidden = false;
    this.marker.classList.toggle("down", this.#stroke !== null);
    this.marker.style.setProperty("left", `${(100 * this.#cursor[0]) / MAX}%`);
    this.marker.style.setProperty("top", `${(100 * this.#cursor[1]) / MAX}%`);
  }
}

/**
 * A fraction as a coordinate.
 * @param {number} fraction
 */
const toUnit = (fraction) => Math.round(clamp(fraction, 0, 1) * MAX);

/**
 * @param {[number, number]} point
 * @returns {[number, number]}
 */
const rounded = ([x, y]) => [Math.round(x), Math.round(y)];
