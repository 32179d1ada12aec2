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
  const image = new Float32Array(size(shape));
  for (let c = 0, i = 0; c < channels; c++) {
    const ink = channel(c);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++, i++) {
        const [left, right] = [column, column + 1].map((k) => frame.left + (k * frame.width) / columns);
        const [top, bottom] = [row, row + 1].map((k) => frame.top + (k * frame.height) / rows);
        let sum = 0;
        for (let y = Math.max(Math.floor(top), 0); y < Math.min(bottom, height); y++)
          for (let x = Math.max(Math.floor(left), 0); x < Math.min(right, width); x++) {
            const inside = (Math.min(right, x + 1) - Math.max(left, x)) * (Math.min(bottom, y + 1) - Math.max(top, y));
            sum += inside * ink[y * width + x];
          }
        image[i] = 2 * clamp(sum / ((right - left) * (bottom - top)), 0, 1) - 1;
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
