/**
 * The map as a picture: cells of a lattice in a plane, moved by dragging or keys.
 */
import { h } from "../../ui/dom.js";
import { latentAt } from "./plane.js";
import { Cells } from "./cells.js";
import { classColor, shortName } from "./classes.js";

/** @typedef {import("../../models/gan.js").Gan} Gan */
/** @typedef {import("./plane.js").Plane} Plane */
/** @typedef {import("./plane.js").Point} Point */
/** @typedef {import("./cells.js").Place} Place */

/**
 * @typedef {object} MapState
 * @property {Point} center coordinates of the middle
 * @property {number} extent width of the map in coordinates
 * @property {number} count images in a row, odd
 * @property {boolean} regions shows classes in place of images
 * @property {boolean} borders shows the class around each image
 */

/** @typedef {{point: Point, name: string}} Marker */

/** Cells of regions in place of one image, along each side. */
const REGION_CELLS = 3;
const ZOOM = 1.25;
/** Wheel movement, in pixels, for one step of zoom. */
const WHEEL_STEP = 60;
/** Pixels that a pointer may move and still click. */
const CLICK_DISTANCE = 4;
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class MapView {
  #redraw = 0;
  /** Middle of the lattice's cell (0, 0). */
  #anchor = { x: 0, y: 0 };
  /** Cells from the middle of the map to the selected one. */
  #selected = { column: 0, row: 0 };
  /** @type {Place | null} */
  #hovered = null;
  #wheel = 0;
  /** Last picture before a zoom, shown until the new cells are there. @type {{image: HTMLCanvasElement, center: Point, extent: number} | null} */
  #old = null;

  /**
   * @param {Gan} gan
   * @param {Plane} plane
   * @param {Marker[]} markers
   * @param {MapState} state changed in place
   * @param {{onmove: () => void, onlook: (point: Point) => void, limits: [number, number]}} actions `onmove` after the map
   *   or the selection has moved, `onlook` when another cell is to be enlarged; `limits` of the extent
   */
  constructor(gan, plane, markers, state, { onmove, onlook, limits }) {
    this.gan = gan;
    this.plane = plane;
    this.markers = markers;
    this.state = state;
    this.onmove = onmove;
    this.onlook = onlook;
    this.limits = limits;
    this.cells = new Cells(
      gan,
      (place) => latentAt(this.plane, this.#pointOf(place)),
      () => this.#draw(),
    );
    this.cells.withImages = !state.regions;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.element = h("div", {
      class: "map-view",
      tabIndex: 0,
      role: "application",
      "aria-label":
        "Map of generated images. Arrow keys move it, Shift and arrow keys select an image, plus and minus zoom.",
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
    });
    this.element.append(this.canvas);
    this.#listen();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
    this.#anchor = { ...state.center };
  }

  destroy() {
    this.observer.disconnect();
    this.cells.stop();
    cancelAnimationFrame(this.#redraw);
  }

  /**
   * Shows another plane.
   * @param {Plane} plane
   * @param {Marker[]} markers
   */
  setPlane(plane, markers) {
    this.plane = plane;
    this.markers = markers;
    this.#old = null;
    this.restart();
  }

  /** Computes all cells again, after a change of the state. */
  restart() {
    this.#anchor = { ...this.state.center };
    this.#hovered = null;
    this.#clampSelection();
    this.cells.clear();
    this.cells.withImages = !this.state.regions;
    this.draw();
    this.look();
  }

  /** Cells in a row. */
  get #columns() {
    return this.state.count * (this.state.regions ? REGION_CELLS : 1);
  }

  /** Distance of neighboring cells in coordinates. */
  get #spacing() {
    return this.state.extent / this.#columns;
  }

  /** Width of a cell in CSS pixels. */
  get #size() {
    return this.element.clientWidth / this.#columns;
  }

  /** @param {Place} place */
  #pointOf({ column, row }) {
    return { x: this.#anchor.x + column * this.#spacing, y: this.#anchor.y + row * this.#spacing };
  }

  /** Cell in the middle of the map. */
  get #middle() {
    const { center } = this.state;
    return {
      column: Math.round((center.x - this.#anchor.x) / this.#spacing),
      row: Math.round((center.y - this.#anchor.y) / this.#spacing),
    };
  }

  /** Selected cell. */
  get #place() {
    const middle = this.#middle;
    return { column: middle.column + this.#selected.column, row: middle.row + this.#selected.row };
  }

  #clampSelection() {
    const half = (this.#columns - 1) / 2;
    const clamp = (/** @type {number} */ n) => Math.min(Math.max(n, -half), half);
    this.#selected = { column: clamp(this.#selected.column), row: clamp(this.#selected.row) };
  }

  /** Enlarges the image under the pointer, or else the selected one. */
  look() {
    this.onlook(this.#pointOf(this.#hovered ?? this.#place));
  }

  /**
   * Moves the map by whole cells.
   * @param {number} columns
   * @param {number} rows
   */
  move(columns, rows) {
    const middle = this.#middle;
    this.#hovered = null;
    this.state.center = this.#pointOf({ column: middle.column + columns, row: middle.row + rows });
    this.#moved();
  }

  /**
   * Zooms in by some steps, or out if negative.
   * @param {number} steps
   */
  zoom(steps) {
    const [min, max] = this.limits;
    const extent = Math.min(Math.max(this.state.extent * ZOOM ** -steps, min), max);
    if (extent === this.state.extent) return;
    this.#keepPicture();
    this.state.extent = extent;
    this.restart();
    this.onmove();
  }

  #keepPicture() {
    const image = h("canvas", { width: this.canvas.width, height: this.canvas.height });
    if (!image.width) return;
    image.getContext("2d")?.drawImage(this.canvas, 0, 0);
    this.#old = { image, center: this.state.center, extent: this.state.extent };
  }

  #moved() {
    this.draw();
    this.look();
    this.onmove();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (arrow && event.shiftKey) {
      this.#hovered = null;
      this.#selected = { column: this.#selected.column + arrow[0], row: this.#selected.row + arrow[1] };
      this.#clampSelection();
      this.#moved();
    } else if (arrow) this.move(...arrow);
    else if (event.key === "+" || event.key === "=") this.zoom(1);
    else if (event.key === "-") this.zoom(-1);
    else return;
    event.preventDefault();
  }

  #listen() {
    /** @type {{x: number, y: number, center: Point, moved: boolean} | null} */
    let drag = null;
    const { element } = this;
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      drag = { x: event.clientX, y: event.clientY, center: this.state.center, moved: false };
      element.setPointerCapture(event.pointerId);
    });
    element.addEventListener("pointermove", (event) => {
      if (!drag) return this.#hover(this.#placeAt(event));
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (!drag.moved && Math.hypot(dx, dy) < CLICK_DISTANCE) return;
      drag.moved = true;
      this.#hovered = null;
      element.classList.add("dragging");
      const scale = this.state.extent / element.clientWidth;
      this.state.center = { x: drag.center.x - dx * scale, y: drag.center.y + dy * scale };
      this.draw();
    });
    const end = (/** @type {PointerEvent} */ event) => {
      if (!drag) return;
      element.classList.remove("dragging");
      if (drag.moved)
        this.state.center = this.#pointOf(this.#middle); // whole cells again
      else if (event.type === "pointerup") this.#select(this.#placeAt(event));
      drag = null;
      this.#moved();
    };
    element.addEventListener("pointerup", end);
    element.addEventListener("pointercancel", end);
    element.addEventListener("pointerleave", () => drag || this.#hover(null));
    // Only with the focus: else the map would catch a reader who scrolls the page.
    element.addEventListener("wheel", (event) => {
      if (document.activeElement !== element && !event.ctrlKey) return;
      event.preventDefault();
      this.#wheel -= event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1);
      const steps = Math.trunc(this.#wheel / WHEEL_STEP);
      this.#wheel -= steps * WHEEL_STEP;
      if (steps) this.zoom(Math.sign(steps));
    });
  }

  /** @param {PointerEvent} event @returns {Place} */
  #placeAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const half = this.#columns / 2;
    const { center } = this.state;
    const x = center.x + ((event.clientX - box.left) / this.#size - half) * this.#spacing;
    const y = center.y - ((event.clientY - box.top) / this.#size - half) * this.#spacing;
    return {
      column: Math.round((x - this.#anchor.x) / this.#spacing),
      row: Math.round((y - this.#anchor.y) / this.#spacing),
    };
  }

  /** @param {Place | null} place */
  #hover(place) {
    if (place?.column === this.#hovered?.column && place?.row === this.#hovered?.row) return;
    this.#hovered = place;
    this.draw();
    this.look();
  }

  /** @param {Place} place */
  #select(place) {
    const middle = this.#middle;
    this.#selected = { column: place.column - middle.column, row: place.row - middle.row };
    this.#clampSelection();
  }

  /** Draws the map at the next frame of the screen. */
  draw() {
    if (!this.#redraw) this.#redraw = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#redraw);
    this.#redraw = 0;
    const width = this.element.clientWidth;
    if (!width) return;
    const pixels = Math.round(width * devicePixelRatio);
    if (this.canvas.width !== pixels) this.canvas.width = this.canvas.height = pixels;
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, width);
    context.imageSmoothingEnabled = false;
    this.#drawOld(context, width);
    const places = this.#visible();
    this.cells.want(places);
    if (!this.cells.busy) this.#old = null;
    for (const place of places) this.#drawCell(context, place);
    for (const marker of this.markers) this.#drawMarker(context, marker);
    this.#drawSelection(context);
    this.element.setAttribute("aria-busy", String(this.cells.busy));
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} width
   */
  #drawOld(context, width) {
    if (!this.#old) return;
    const { image, center, extent } = this.#old;
    const size = (width * extent) / this.state.extent;
    const { x, y } = this.#onScreen(center);
    context.globalAlpha = 0.5;
    context.drawImage(image, x - size / 2, y - size / 2, size, size);
    context.globalAlpha = 1;
  }

  /** Cells that are at least partly visible, those near the middle first. */
  #visible() {
    const middle = this.#middle;
    const half = (this.#columns + 1) / 2;
    /** @type {Place[]} */
    const places = [];
    for (let row = middle.row - half; row <= middle.row + half; row++)
      for (let column = middle.column - half; column <= middle.column + half; column++) places.push({ column, row });
    const distance = (/** @type {Place} */ { column, row }) => Math.hypot(column - middle.column, row - middle.row);
    return places.sort((a, b) => distance(a) - distance(b));
  }

  /**
   * Returns the place of a point on the canvas in CSS pixels.
   * @param {Point} point
   * @returns {Point}
   */
  #onScreen({ x, y }) {
    const { center } = this.state;
    const half = this.element.clientWidth / 2;
    const scale = this.#size / this.#spacing;
    return { x: half + (x - center.x) * scale, y: half - (y - center.y) * scale };
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Place} place
   */
  #drawCell(context, place) {
    const cell = this.cells.get(place);
    if (!cell) return;
    const size = this.#size;
    const middle = this.#onScreen(this.#pointOf(place));
    const [x, y] = [middle.x - size / 2, middle.y - size / 2];
    const { regions, borders } = this.state;
    const classIndex = cell.classIndex ?? -1;
    if (regions && classIndex >= 0) {
      context.fillStyle = "#ffffff";
      context.fillRect(x, y, size + 0.5, size + 0.5);
      context.globalAlpha = 0.35 + 0.65 * cell.confidence;
      context.fillStyle = classColor(classIndex);
      context.fillRect(x, y, size + 0.5, size + 0.5);
      context.globalAlpha = 1;
      if (size >= 13 || (place.column % REGION_CELLS === 0 && place.row % REGION_CELLS === 0))
        this.#write(context, this.#name(classIndex), middle, Math.min(Math.max(0.55 * size, 9), 16));
      return;
    }
    const withClass = borders && classIndex >= 0;
    const edge = withClass ? Math.max(2, 0.05 * size) : 0;
    if (withClass) {
      context.fillStyle = classColor(classIndex);
      context.fillRect(x + 1, y + 1, size - 2, size - 2);
    }
    const inset = 1 + edge;
    if (cell.image) context.drawImage(cell.image, x + inset, y + inset, size - 2 * inset, size - 2 * inset);
    if (withClass) this.#drawBadge(context, this.#name(classIndex), classColor(classIndex), x + 1, y + 1, size);
  }

  /** @param {number} classIndex */
  #name(classIndex) {
    return shortName(this.gan.content.classifier?.classNames ?? [], classIndex);
  }

  /**
   * Draws a name in a corner.
   * @param {CanvasRenderingContext2D} context
   * @param {string} text
   * @param {string} color
   * @param {number} x
   * @param {number} y
   * @param {number} size of the cell
   */
  #drawBadge(context, text, color, x, y, size) {
    const font = Math.min(Math.max(0.24 * size, 9), 16);
    context.font = `700 ${font}px system-ui, sans-serif`;
    const width = context.measureText(text).width + 0.6 * font;
    context.fillStyle = color;
    context.fillRect(x, y, width, 1.2 * font);
    this.#write(context, text, { x: x + width / 2, y: y + 0.62 * font }, font);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} text
   * @param {Point} middle
   * @param {number} font
   */
  #write(context, text, { x, y }, font) {
    context.font = `700 ${font}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = "#000000";
    context.fillText(text, x, y);
  }

  /**
   * Draws a letter at one of the latents that span the plane.
   * @param {CanvasRenderingContext2D} context
   * @param {Marker} marker
   */
  #drawMarker(context, { point, name }) {
    const onPoint = this.#onScreen(point);
    const aside = this.state.regions ? 0 : Math.max(this.#size / 2 - 11, 0); // so that the image is visible
    const [x, y] = [onPoint.x + aside, onPoint.y + aside];
    context.beginPath();
    context.arc(x, y, 10, 0, 2 * Math.PI);
    context.fillStyle = "#ffffff";
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = "#000000";
    context.stroke();
    this.#write(context, name, { x, y: y + 1 }, 12);
  }

  /**
   * Frames the enlarged cell, in white and black, which stands out on every image.
   * @param {CanvasRenderingContext2D} context
   */
  #drawSelection(context) {
    const size = Math.max(this.#size, 10);
    const { x, y } = this.#onScreen(this.#pointOf(this.#hovered ?? this.#place));
    for (const [color, width] of /** @type {[string, number][]} */ ([
      ["#000000", 5],
      ["#ffffff", 2],
    ])) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.strokeRect(x - size / 2, y - size / 2, size, size);
    }
  }
}
