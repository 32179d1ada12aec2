/**
 * From a drawing to an image of the size that the generator makes.
 *
 * Digits are prepared as those of MNIST were (LeCun et al. 1998): the drawing is cropped, scaled into a box of 20 × 20
 * of the 28 × 28 pixels, and moved until its center of mass is in the middle. Other drawings are only scaled.
 */

/** @typedef {[number, number, number]} ImageShape (C, H, W) */

/**
 * A drawing: numbers from 0 to 1, channel by channel and row by row.
 * @typedef {{values: Float32Array, shape: ImageShape}} Drawing
 */

/** Side of the box as a fraction of the side of the image. */
const BOX = 20 / 28;
/** Distance of the center of mass from the left and the top, as a fraction of the side: pixel 14, counted from 0. */
const CENTER = 14.5 / 28;
/** Ink below this is no part of the digit. */
const MIN_INK = 0.1;

/**
 * Part of a drawing, in its pixels.
 * @typedef {{left: number, top: number, width: number, height: number}} Frame
 */

/**
 * Returns an image in [-1, 1], or null if a digit has no ink.
 * @param {Drawing} drawing
 * @param {ImageShape} shape of the image
 * @param {boolean} isDigit whether to prepare it like MNIST; for one channel
 * @returns {Float32Array | null} [C, H, W]
 */
export function preprocess(drawing, shape, isDigit) {
  const [, height, width] = drawing.shape;
  const frame = isDigit ? digitFrame(drawing) : { left: 0, top: 0, width, height };
  if (!frame) return null;
  return resample(drawing, frame, shape).map((ink) => 2 * ink - 1);
}

/**
 * The part of the drawing that becomes the image of a digit. It may reach beyond the drawing.
 * @param {Drawing} drawing one channel
 * @returns {Frame | null} null without ink
 */
function digitFrame({ values, shape: [, height, width] }) {
  let [left, right, top, bottom] = [width, -1, height, -1];
  let [mass, x, y] = [0, 0, 0];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const ink = values[row * width + column];
      if (ink < MIN_INK) continue;
      left = Math.min(left, column);
      right = Math.max(right, column);
      top = Math.min(top, row);
      bottom = Math.max(bottom, row);
      mass += ink;
      x += ink * (column + 0.5);
      y += ink * (row + 0.5);
    }
  }
  if (!mass) return null;
  const side = Math.max(right - left + 1, bottom - top + 1) / BOX;
  return { left: x / mass - CENTER * side, top: y / mass - CENTER * side, width: side, height: side };
}

/**
 * Returns the mean of the drawing in each pixel of the image; there is no ink outside of the drawing.
 * @param {Drawing} drawing
 * @param {Frame} frame
 * @param {ImageShape} shape
 * @returns {Float32Array} [C, H, W] in [0, 1]
 */
function resample(drawing, frame, [channels, height, width]) {
  const [, sourceHeight, sourceWidth] = drawing.shape;
  const plane = sourceHeight * sourceWidth;
  const image = new Float32Array(channels * height * width);
  const [stepX, stepY] = [frame.width / width, frame.height / height];
  for (let c = 0, i = 0; c < channels; c++) {
    const sums = sumTable(drawing.values.subarray(c * plane, (c + 1) * plane), sourceWidth, sourceHeight);
    for (let row = 0; row < height; row++) {
      const top = frame.top + row * stepY;
      for (let column = 0; column < width; column++, i++) {
        const left = frame.left + column * stepX;
        const sum =
          sums(left + stepX, top + stepY) - sums(left, top + stepY) - sums(left + stepX, top) + sums(left, top);
        image[i] = Math.min(Math.max(sum / (stepX * stepY), 0), 1);
      }
    }
  }
  return image;
}

/**
 * Returns the integral of an image from its corner to (x, y); between pixels it is bilinear, which is exact.
 * @param {Float32Array} values
 * @param {number} width
 * @param {number} height
 * @returns {(x: number, y: number) => number}
 */
function sumTable(values, width, height) {
  const stride = width + 1;
  const sums = new Float64Array(stride * (height + 1));
  for (let row = 0; row < height; row++) {
    let sum = 0;
    for (let column = 0; column < width; column++) {
      sum += values[row * width + column];
      sums[(row + 1) * stride + column + 1] = sums[row * stride + column + 1] + sum;
    }
  }
  return (x, y) => {
    const [right, bottom] = [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
    const [column, row] = [Math.min(Math.floor(right), width - 1), Math.min(Math.floor(bottom), height - 1)];
    const [fx, fy] = [right - column, bottom - row];
    /** @param {number} at */
    const alongRow = (at) => (1 - fx) * sums[at] + fx * sums[at + 1];
    const at = row * stride + column;
    return (1 - fy) * alongRow(at) + fy * alongRow(at + stride);
  };
}
