/**
 * Images of pixels in [-1, 1] on a canvas.
 */
import { h } from "./dom.js";

/**
 * Draws an image on a canvas of its own size; CSS enlarges it without smoothing.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} pixels [C, H, W] in [-1, 1]
 * @param {[number, number, number]} shape
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
 * @param {[number, number, number]} shape
 * @param {string} label for those who do not see it; empty if a text beside it says the same
 */
export function imageCanvas(pixels, shape, label) {
  const canvas = h("canvas", { width: shape[2], height: shape[1], class: "image", role: "img", "aria-label": label });
  if (pixels) drawImage(canvas, pixels, shape);
  return canvas;
}
