/**
 * Comparison of images: distance, difference, and the nearest of many.
 */

/** @typedef {[number, number, number]} ImageShape (C, H, W) */

/**
 * Returns the root-mean-square difference of the pixels, from 0 to 2.
 * @param {Float32Array} a
 * @param {Float32Array} b
 */
export function rmse(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum / a.length);
}

/**
 * Returns the image nearest to another.
 * @param {Float32Array} image [P]
 * @param {Float32Array} images [N, P]
 * @returns {{index: number, error: number}} root-mean-square difference
 */
export function findNearest(image, images) {
  const pixels = image.length;
  let best = { index: -1, error: Infinity };
  for (let n = 0; n * pixels < images.length; n++) {
    const error = rmse(image, images.subarray(n * pixels, (n + 1) * pixels));
    if (error < best.error) best = { index: n, error };
  }
  return best;
}

const [BLUE, ORANGE] = [
  [0.42, 0.75, 0.93],
  [0.94, 0.64, 0.37],
];

/**
 * Returns the difference of two images as a color image: blue where a is brighter, orange where b is. Half of the
 * largest difference has the full color already, so that small ones are seen.
 * @param {Float32Array} a [C, H, W]
 * @param {Float32Array} b [C, H, W]
 * @param {ImageShape} shape
 * @returns {Float32Array} [3, H, W] in [-1, 1]
 */
export function difference(a, b, [channels, height, width]) {
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
