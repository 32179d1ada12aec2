/** Comparison of images: the nearest of many, and the difference as a picture. */
import type { ImageShape } from "../../kit/image";
import { row } from "../../kit/tensors";

/** Root-mean-square difference of the pixels, from 0 to 2. */
function rmse(a: Float32Array, b: Float32Array) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum / a.length);
}

/** Returns the one of `count` images [N, P] that is nearest to another [P]. */
export function nearestOf(image: Float32Array, images: Float32Array) {
  const count = images.length / image.length;
  const errors = Array.from({ length: count }, (_, n) => rmse(image, row(images, n, image.length)));
  const error = Math.min(...errors);
  return { count, error, image: row(images, errors.indexOf(error), image.length) };
}

const [BLUE, ORANGE] = [
  [0.42, 0.75, 0.93],
  [0.94, 0.64, 0.37],
];

/**
 * Returns the difference of two images as a color image [3, H, W]: blue where a is brighter, orange where b is. Half of the
 * largest difference has the full color already, so that small ones are seen.
 */
export function difference(a: Float32Array, b: Float32Array, [channels, height, width]: ImageShape) {
  const plane = height * width;
  const image = new Float32Array(3 * plane);
  for (let i = 0; i < plane; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += (a[c * plane + i] - b[c * plane + i]) / (2 * channels);
    const color = sum > 0 ? BLUE : ORANGE;
    for (let c = 0; c < 3; c++) image[c * plane + i] = 2 * Math.min(1, 2 * Math.abs(sum)) * color[c] - 1;
  }
  return image;
}
