/**
 * From a drawing to an image of the size that the generator makes.
 *
 * Digits are prepared as those of MNIST were (LeCun et al. 1998): the drawing is cropped, scaled into a box of 20 × 20 of the
 * 28 × 28 pixels, and moved until its center of mass is in the middle. Other drawings are only scaled.
 */
import { clamp } from "../../kit/format";
import type { ImageShape } from "../../kit/image";
import { size } from "../../kit/tensors";

const BOX = 20 / 28; // Side of the box as a fraction of the side of the image
/** Distance of the center of mass from the left and the top, as a fraction of the side: pixel 14, counted from 0. */
const CENTER = 14.5 / 28;
const MIN_INK = 0.1; // Ink below this is no part of the digit

/**
 * Returns an image [C, H, W] in [-1, 1], or null if a digit, of one channel, has no ink. A pixel is the mean of the drawing
 * inside it; there is no ink outside of the drawing.
 */
export function preprocess({ data, width, height }: ImageData, shape: ImageShape, isDigit: boolean) {
  const channel = (c: number) => Float32Array.from({ length: width * height }, (_, i) => data[4 * i + c] / 255);
  const frame = isDigit ? digitFrame(channel(0), width) : { left: 0, top: 0, width, height };
  if (!frame) return null;
  const [channels, rows, columns] = shape;
  const [stepX, stepY] = [frame.width / columns, frame.height / rows];
  const image = new Float32Array(size(shape));
  for (let c = 0, i = 0; c < channels; c++) {
    const sums = sumTable(channel(c), width, height);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++, i++) {
        const [left, top] = [frame.left + column * stepX, frame.top + row * stepY];
        const [right, bottom] = [left + stepX, top + stepY];
        const sum = sums(right, bottom) - sums(left, bottom) - sums(right, top) + sums(left, top);
        image[i] = 2 * clamp(sum / (stepX * stepY), 0, 1) - 1;
      }
  }
  return image;
}

/** The part of a drawing that becomes the image of a digit, in its pixels; it may reach beyond. Null without ink. */
function digitFrame(ink: Float32Array, width: number) {
  let [left, right, top, bottom] = [Infinity, -1, Infinity, -1];
  let [mass, x, y] = [0, 0, 0];
  ink.forEach((value, i) => {
    if (value < MIN_INK) return;
    const [column, row] = [i % width, Math.floor(i / width)];
    [left, right] = [Math.min(left, column), Math.max(right, column)];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
    [mass, x, y] = [mass + value, x + value * (column + 0.5), y + value * (row + 0.5)];
  });
  const side = Math.max(right - left + 1, bottom - top + 1) / BOX;
  return mass ? { left: x / mass - CENTER * side, top: y / mass - CENTER * side, width: side, height: side } : null;
}

/** Returns the integral of values from the corner to (x, y); between pixels it is bilinear, which is exact. */
function sumTable(values: Float32Array, width: number, height: number) {
  const stride = width + 1;
  const sums = new Float64Array(stride * (height + 1));
  for (let row = 0; row < height; row++)
    for (let column = 0, sum = 0; column < width; column++) {
      sum += values[row * width + column];
      sums[(row + 1) * stride + column + 1] = sums[row * stride + column + 1] + sum;
    }
  return (x: number, y: number) => {
    const [right, bottom] = [clamp(x, 0, width), clamp(y, 0, height)];
    const [column, row] = [Math.min(Math.floor(right), width - 1), Math.min(Math.floor(bottom), height - 1)];
    const [fx, fy] = [right - column, bottom - row];
    const alongRow = (at: number) => (1 - fx) * sums[at] + fx * sums[at + 1];
    return (1 - fy) * alongRow(row * stride + column) + fy * alongRow((row + 1) * stride + column);
  };
}
