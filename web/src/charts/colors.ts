/**
 * Colors of values: a sequential scale from 0 to a limit, or a diverging one on both sides of 0. The colors are CSS
 * variables, the same on a dark page. Of more columns than pixels each pixel shows several.
 */
import { parseColor } from "../kit/format";

export interface ColorScale {
  name: "sequential" | "diverging" | "difference"; // Of a CSS variable with its colors
  limit: number;
}

const COLORS = 256;

const tables = new Map<string, Uint32Array>();

/** Returns the colors of a scale as packed RGBA, from low to high, by the CSS variables of an element in the page. */
function colorTable(element: Element, name: ColorScale["name"]): Uint32Array {
  const known = tables.get(name);
  if (known) return known;
  const colors = getComputedStyle(element).getPropertyValue(`--${name}`);
  const stops = colors.split(",").map((color) => parseColor(color.trim()));
  const bytes = new Uint8ClampedArray(4 * COLORS);
  for (let k = 0; k < COLORS; k++) {
    const place = (k / (COLORS - 1)) * (stops.length - 1);
    const left = Math.min(Math.floor(place), stops.length - 2);
    for (let channel = 0; channel < 3; channel++) {
      const [low, high] = [stops[left][channel], stops[left + 1][channel]];
      bytes[4 * k + channel] = low + (place - left) * (high - low);
    }
    bytes[4 * k + 3] = 255;
  }
  const table = new Uint32Array(bytes.buffer);
  tables.set(name, table);
  return table;
}

/** Draws values [columns, rows] on a canvas, one pixel each, in an order of rows; transparent where there is no number. */
export function drawValues(
  canvas: HTMLCanvasElement,
  values: Float64Array,
  columns: number,
  rows: number,
  order: ArrayLike<number> | null,
  scale: ColorScale,
) {
  const table = colorTable(canvas, scale.name);
  const [low, range] = scale.name === "sequential" ? [0, scale.limit] : [-scale.limit, 2 * scale.limit];
  [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(columns, rows);
  const packed = new Uint32Array(image.data.buffer);
  for (let place = 0; place < rows; place++) {
    const row = order ? order[place] : place;
    for (let column = 0; column < columns; column++) {
      const value = (values[column * rows + row] - low) / range;
      const index = Math.min(Math.max(Math.round(value * (COLORS - 1)), 0), COLORS - 1);
      packed[place * columns + column] = Number.isNaN(value) ? 0 : table[index];
    }
  }
  context.putImageData(image, 0, 0);
}

/** Returns the mean of each row over all columns of values [columns, rows]. */
export function rowMeans(values: Float64Array, columns: number, rows: number): Float64Array {
  const means = new Float64Array(rows);
  for (let column = 0; column < columns; column++)
    for (let row = 0; row < rows; row++) means[row] += values[column * rows + row];
  for (let row = 0; row < rows; row++) means[row] /= columns;
  return means;
}

/** Returns values [columns, rows] decimated to [bins, rows]: the farthest from the mean of their row, so that no event vanishes. */
export function binColumns(values: Float64Array, columns: number, rows: number, bins: number) {
  if (bins >= columns) return values;
  const binned = new Float64Array(bins * rows);
  const means = rowMeans(values, columns, rows);
  for (let bin = 0; bin < bins; bin++) {
    const [begin, end] = [Math.floor((bin * columns) / bins), Math.floor(((bin + 1) * columns) / bins)];
    for (let row = 0; row < rows; row++) {
      let extreme = values[begin * rows + row];
      for (let column = begin; column < end; column++) {
        const value = values[column * rows + row];
        if (Math.abs(value - means[row]) > Math.abs(extreme - means[row])) extreme = value;
      }
      binned[bin * rows + row] = extreme;
    }
  }
  return binned;
}
