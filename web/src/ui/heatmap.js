/**
 * Heat map of values over columns (time) and rows: one color per value on a canvas, a cursor, selection by mouse, touch
 * and keyboard.
 *
 * Values stand column by column, [columns, rows], as traces have them. The colors are CSS variables, so they follow the
 * color scheme. With more columns than pixels the picture is decimated: a pixel shows the mean of its bin, or the value
 * of its bin that is farthest from the mean of the row, so that a short event does not vanish.
 */
import { h } from "./dom.js";

/**
 * How values become colors: a sequential scale from 0 to `limit`, or a diverging one from -limit to limit.
 * @typedef {object} ColorScale
 * @property {"sequential" | "diverging" | "difference"} name prefix of the CSS variables `--NAME-0` ... `--NAME-4`
 * @property {number} limit
 */

/**
 * @typedef {object} HeatmapContent
 * @property {Float64Array} values [columns, rows]
 * @property {number} columns
 * @property {number} rows
 * @property {ArrayLike<number> | null} order rows from top to bottom; null for their own order
 * @property {ColorScale} scale
 * @property {"extreme" | "mean"} binning what a pixel shows of several values
 * @property {string} label accessible name: the message of the picture
 * @property {number | null} [marked] a row to mark, such as the target class
 */

/** @typedef {{column: number, row: number}} Cell */

const STOPS = 5;
const COLORS = 256;

/** @type {Map<ColorScale["name"], Uint32Array>} */
const tables = new Map();

/** Forgets the colors; call it when the color scheme has changed. */
export const forgetColors = () => tables.clear();

/**
 * Returns the colors of a scale as packed RGBA, from low to high.
 * @param {Element} element whose CSS variables count
 * @param {ColorScale["name"]} name
 */
function colorTable(element, name) {
  const known = tables.get(name);
  if (known) return known;
  const style = getComputedStyle(element);
  const stops = Array.from({ length: STOPS }, (_, index) => {
    const hex = style.getPropertyValue(`--${name}-${index}`).trim();
    return [1, 3, 5].map((start) => Number.parseInt(hex.slice(start, start + 2), 16));
  });
  const bytes = new Uint8ClampedArray(4 * COLORS);
  for (let k = 0; k < COLORS; k++) {
    const place = (k / (COLORS - 1)) * (STOPS - 1);
    const left = Math.min(Math.floor(place), STOPS - 2);
    for (let channel = 0; channel < 3; channel++) {
      const [low, high] = [stops[left][channel], stops[left + 1][channel]];
      bytes[4 * k + channel] = low + (place - left) * (high - low);
    }
    bytes[4 * k + 3] = 255;
  }
  const table = new Uint32Array(bytes.buffer);
  if (element.isConnected) tables.set(name, table); // without the page there are no CSS variables
  return table;
}

/**
 * Returns values decimated to fewer columns, [bins, rows].
 * @param {Float64Array} values [columns, rows]
 * @param {number} columns
 * @param {number} rows
 * @param {number} bins at most `columns`
 * @param {"extreme" | "mean"} binning
 */
export function binColumns(values, columns, rows, bins, binning) {
  if (bins >= columns) return values;
  const binned = new Float64Array(bins * rows);
  const means = rowMeans(values, columns, rows);
  for (let bin = 0; bin < bins; bin++) {
    const [begin, end] = [Math.floor((bin * columns) / bins), Math.floor(((bin + 1) * columns) / bins)];
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      let extreme = values[begin * rows + row];
      for (let column = begin; column < end; column++) {
        const value = values[column * rows + row];
        sum += value;
        if (Math.abs(value - means[row]) > Math.abs(extreme - means[row])) extreme = value;
      }
      binned[bin * rows + row] = binning === "mean" ? sum / (end - begin) : extreme;
    }
  }
  return binned;
}

/**
 * Returns the mean of each row over all columns.
 * @param {Float64Array} values [columns, rows]
 * @param {number} columns
 * @param {number} rows
 */
export function rowMeans(values, columns, rows) {
  const means = new Float64Array(rows);
  for (let column = 0; column < columns; column++)
    for (let row = 0; row < rows; row++) means[row] += values[column * rows + row];
  for (let row = 0; row < rows; row++) means[row] /= columns;
  return means;
}

/** Legend of a color scale: a bar with its numbers. */
export class Legend {
  constructor() {
    this.bar = h("span", { class: "heatmap-bar" });
    this.low = h("span");
    this.high = h("span");
    this.element = h("span", { class: "heatmap-legend" }, this.low, this.bar, this.high);
  }

  /**
   * @param {ColorScale} scale
   * @param {(value: number) => string} format
   */
  show({ name, limit }, format) {
    this.bar.setAttribute("data-scale", name);
    this.low.textContent = name === "sequential" ? "0" : format(-limit);
    this.high.textContent = name === "sequential" ? format(limit) : `+${format(limit)}`;
  }
}

export class Heatmap {
  /** @type {HeatmapContent | null} */
  #content = null;
  /** @type {Cell} where the keyboard is */
  #cursor = { column: 0, row: 0 };
  /** @type {Cell} */
  #selection = { column: 0, row: 0 };

  /**
   * @param {object} options
   * @param {string} options.name for those who use a screen reader, such as "forget gate f"
   * @param {(cell: Cell | null, isKeyboard: boolean) => void} options.onmove pointer or keyboard is at a cell, or
   *   has left
   * @param {(cell: Cell) => void} options.onselect click, tap, Enter or space
   */
  constructor({ name, onmove, onselect }) {
    this.onmove = onmove;
    this.onselect = onselect;
    this.canvas = h("canvas", { class: "heatmap-canvas", role: "img" });
    this.columnMark = h("div", { class: "heatmap-column", "aria-hidden": "true" });
    this.cellMark = h("div", { class: "heatmap-cell", "aria-hidden": "true" });
    this.hoverMark = h("div", { class: "heatmap-hover", "aria-hidden": "true", hidden: true });
    this.rowMark = h("div", { class: "heatmap-marked", "aria-hidden": "true", hidden: true });
    this.element = h(
      "div",
      {
        class: "heatmap",
        role: "application",
        tabIndex: 0,
        "aria-label": `Cells of the ${name}: move with the arrow keys, select with Enter`,
        onpointermove: (/** @type {PointerEvent} */ event) => this.#hover(this.#cellAt(event)),
        onpointerleave: () => this.#hover(null),
        onclick: (/** @type {MouseEvent} */ event) => this.#select(this.#cellAt(event)),
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
        onfocus: () => {
          this.#cursor = { ...this.#selection };
        },
        onblur: () => this.#hover(null),
      },
      this.canvas,
      this.columnMark,
      this.rowMark,
      this.hoverMark,
      this.cellMark,
    );
  }

  /**
   * Shows values. Call it again after a change of size or color scheme.
   * @param {HeatmapContent} content
   * @param {number} pixels width in CSS pixels; more columns are decimated
   */
  show(content, pixels) {
    this.#content = content;
    this.canvas.setAttribute("aria-label", content.label);
    this.rowMark.hidden = content.marked === null || content.marked === undefined;
    if (!this.rowMark.hidden) this.#place(this.rowMark, null, content.marked ?? 0);
    this.#draw(content, Math.max(1, Math.floor(pixels)));
    this.select(this.#selection);
  }

  /**
   * Draws all bins, one canvas pixel each; CSS enlarges them without smoothing.
   * @param {HeatmapContent} content
   * @param {number} pixels
   */
  #draw({ values, columns, rows, order, scale, binning }, pixels) {
    const bins = Math.min(columns, pixels);
    const binned = binColumns(values, columns, rows, bins, binning);
    const table = colorTable(this.element, scale.name);
    const [low, range] = scale.name === "sequential" ? [0, scale.limit] : [-scale.limit, 2 * scale.limit];
    const { canvas } = this;
    [canvas.width, canvas.height] = [bins, rows];
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const image = context.createImageData(bins, rows);
    const packed = new Uint32Array(image.data.buffer);
    for (let place = 0; place < rows; place++) {
      const row = order ? order[place] : place;
      for (let bin = 0; bin < bins; bin++) {
        const value = (binned[bin * rows + row] - low) / range;
        const index = Math.min(Math.max(Math.round(value * (COLORS - 1)), 0), COLORS - 1);
        packed[place * bins + bin] = Number.isNaN(value) ? 0 : table[index]; // transparent where it is not a number
      }
    }
    context.putImageData(image, 0, 0);
  }

  /**
   * Marks the selected cell.
   * @param {Cell} cell
   */
  select(cell) {
    this.#selection = cell;
    this.#place(this.columnMark, cell.column, null);
    this.#place(this.cellMark, cell.column, cell.row);
  }

  /**
   * Puts a mark on a cell, a column or a row.
   * @param {HTMLElement} mark
   * @param {number | null} column
   * @param {number | null} row
   */
  #place(mark, column, row) {
    if (!this.#content) return;
    const { columns, rows } = this.#content;
    if (column !== null) {
      mark.style.setProperty("left", `${(100 * column) / columns}%`);
      mark.style.setProperty("width", `${100 / columns}%`);
    }
    if (row !== null) {
      mark.style.setProperty("top", `${(100 * this.#placeOf(row)) / rows}%`);
      mark.style.setProperty("height", `${100 / rows}%`);
    }
  }

  /** @param {number} row */
  #placeOf(row) {
    const order = this.#content?.order;
    return order ? Array.prototype.indexOf.call(order, row) : row;
  }

  /**
   * @param {MouseEvent} event
   * @returns {Cell | null}
   */
  #cellAt(event) {
    if (!this.#content) return null;
    const { columns, rows, order } = this.#content;
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const place = Math.floor(((event.clientY - box.top) / box.height) * rows);
    if (column < 0 || column >= columns || place < 0 || place >= rows) return null;
    return { column, row: order ? order[place] : place };
  }

  /**
   * @param {Cell | null} cell
   * @param {boolean} [isKeyboard]
   */
  #hover(cell, isKeyboard = false) {
    this.hoverMark.hidden = !cell;
    if (cell) this.#place(this.hoverMark, cell.column, cell.row);
    this.onmove(cell, isKeyboard);
  }

  /** @param {Cell | null} cell */
  #select(cell) {
    if (!cell) return;
    this.#cursor = { ...cell };
    this.onselect(cell);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (!this.#content || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#select(this.#cursor);
      return;
    }
    const { columns, rows, order } = this.#content;
    const place = this.#placeOf(this.#cursor.row);
    const [dx, dy] = /** @type {Record<string, [number, number]>} */ ({
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
      PageUp: [-10, 0],
      PageDown: [10, 0],
      Home: [-columns, 0],
      End: [columns, 0],
    })[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    const moved = Math.min(Math.max(place + dy, 0), rows - 1);
    const column = Math.min(Math.max(this.#cursor.column + dx, 0), columns - 1);
    this.#cursor = { column, row: order ? order[moved] : moved };
    this.#hover(this.#cursor, true);
  }
}
