/**
 * Images of pixels in [-1, 1] on a canvas.
 */
import { h } from "./dom.js";

/** @typedef {[number, number, number]} ImageShape (C, H, W) */

/**
 * Draws an image on a canvas of its own size; CSS enlarges it without smoothing.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} pixels [C, H, W] in [-1, 1]
 * @param {ImageShape} shape
 */
export function drawImage(canvas, pixels, [channels, height, width]) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const data = context.createImageData(width, height);
  const plane = height * width;
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) {
      data.data[4 * i + c] = (pixels[channels === 1 ? i : c * plane + i] + 1) * 127.5;
    }
    data.data[4 * i + 3] = 255;
  }
  context.putImageData(data, 0, 0);
}

/**
 * Creates a canvas with an image.
 * @param {Float32Array | null} pixels nothing if null
 * @param {ImageShape} shape
 * @param {string} label for those who do not see it; empty if a text beside it says the same
 */
export function imageCanvas(pixels, shape, label) {
  const alternative = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  const canvas = h("canvas", { width: shape[2], height: shape[1], class: "image", ...alternative });
  if (pixels) drawImage(canvas, pixels, shape);
  return canvas;
}

/**
 * Returns a canvas with an image enlarged without smoothing, for files.
 * @param {Float32Array} pixels [C, H, W] in [-1, 1]
 * @param {ImageShape} shape
 * @param {number} scale an integer
 */
export function enlarge(pixels, shape, scale) {
  const source = imageCanvas(pixels, shape, "");
  const canvas = h("canvas", { width: shape[2] * scale, height: shape[1] * scale });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingEnabled = false;
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/**
 * Integer scale that makes an image about `size` pixels wide.
 * @param {ImageShape} shape
 * @param {number} size
 */
export const scaleTo = ([, , width], size) => Math.max(1, Math.round(size / width));
