/** Images as `reviver gan train --data` prepares gray ones: the middle square, resized as Pillow does by Lanczos. */

const PRECISION = 22;
const SUPPORT = 3;

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const lanczos = (x: number) => (x >= -SUPPORT && x < SUPPORT ? sinc(x) * sinc(x / SUPPORT) : 0);

/** Weights, in fixed point, of the pixels from `first` on that make each of `count` pixels of a part of a line. */
function weightsOf(length: number, from: number, part: number, count: number) {
  const scale = part / count;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: count }, (_, k) => {
    const center = from + (k + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - SUPPORT * stretch + 0.5));
    const end = Math.min(length, Math.trunc(center + SUPPORT * stretch + 0.5));
    const weights = Array.from({ length: end - first }, (__, n) => lanczos((n + first - center + 0.5) / stretch));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => Math.round((weight / total) * 2 ** PRECISION)) };
  });
}

/** Resizes the lines of an image [height, width], and exchanges rows and columns. */
function resizeLines(pixels: Uint8Array, width: number, part: number, size: number): Uint8Array<ArrayBuffer> {
  const height = pixels.length / width;
  const resized = new Uint8Array(size * height);
  weightsOf(width, (width - part) / 2, part, size).forEach(({ first, weights }, k) => {
    for (let y = 0; y < height; y++) {
      let sum = 1 << (PRECISION - 1);
      for (let n = 0; n < weights.length; n++) sum += pixels[y * width + first + n] * weights[n];
      resized[k * height + y] = Math.min(Math.max(sum >> PRECISION, 0), 255);
    }
  });
  return resized;
}

/** Returns the middle square of a gray image as `size` × `size` bytes. */
export function cropAndResize(gray: Uint8Array, width: number, size = 28): Uint8Array<ArrayBuffer> {
  const height = gray.length / width;
  const side = Math.min(width, height);
  return resizeLines(resizeLines(gray, width, side, size), height, side, size);
}

/** Returns RGBA as gray (ITU-R 601-2), without its transparency. */
export const toGray = (rgba: Uint8ClampedArray) =>
  Uint8Array.from(
    { length: rgba.length / 4 },
    (_, n) => (rgba[4 * n] * 19595 + rgba[4 * n + 1] * 38470 + rgba[4 * n + 2] * 7471 + 0x8000) >> 16,
  );
