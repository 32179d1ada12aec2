/** What D sees of images x: s (x - m), as `reviver.gan.centering`, and some of them shifted, as `reviver.gan.step.shift`. */
import type { Matrix, Memory } from "../compute/memory";
import type { Rng } from "../compute/random";

/** Longer side of an image, in pixels, for each pixel of a shift. */
const SIDE = 28;

/** The mean image m, and s = √(E‖x‖² / E‖x - m‖²). */
export interface Centering {
  mean: Float32Array<ArrayBuffer>;
  scale: number; // In single precision
}

/** Returns the centering of images in bytes [N, pixels], from sums of integers. */
export function centeringOf(bytes: Uint8Array, pixels: number): Centering {
  const [totals, N] = [new Float64Array(pixels), bytes.length / pixels];
  const squares = new Float64Array(pixels);
  bytes.forEach((value, k) => {
    totals[k % pixels] += value;
    squares[k % pixels] += value * value;
  });
  const mean = totals.map((total) => total / N / 127.5 - 1);
  const meanNormSq = mean.reduce((sum, value) => sum + value * value, 0);
  const variance = squares.reduce((sum, square, p) => sum + (square / N - (totals[p] / N) ** 2), 0) / 127.5 ** 2;
  if (variance <= 1e-12 * (meanNormSq + variance))
    throw new Error("the images are all equal, so they have no centering");
  const scale = Math.fround(Math.sqrt((meanNormSq + variance) / variance));
  return { mean: Float32Array.from(mean), scale };
}

/**
 * Draws for each of N images, with a probability, a shift by at most a 28th of the side. Returns their rows and columns down and
 * right, none: [0, 0].
 */
export function drawShifts(rng: Rng, N: number, probability: number, size: number): [number, number][] {
  const reach = Math.floor(size / SIDE);
  const side = 2 * reach + 1;
  return Array.from(rng.uniform(N), (value) => {
    const drawn = Math.fround(value / Math.fround(probability));
    if (drawn >= 1) return [0, 0];
    const number = Math.min(Math.trunc(Math.fround(drawn * side ** 2)), side ** 2 - 1);
    return [Math.floor(number / side) - reach, (number % side) - reach];
  });
}

/** Returns the pixel that each of a shifted image comes from; beyond the edge it repeats those at the edge. */
export function sourcesOf([down, right]: [number, number], size: number): Int32Array {
  const inside = (value: number) => Math.min(Math.max(value, 0), size - 1);
  return Int32Array.from(
    { length: size ** 2 },
    (_, p) => inside(Math.floor(p / size) - down) * size + inside((p % size) - right),
  );
}

/** Of each image the pixels that its shifted one comes from; null for one that stays. */
export type Shifts = (Int32Array | null)[];

/** Centers and shifts images [P, N] for D, into `inputs`: those of some columns, which `shifts` begin with. */
export function centerAndShift(
  memory: Memory,
  images: Matrix,
  inputs: Matrix,
  columns: number,
  centering: Centering | null,
  mean: Matrix | null,
  shifts: Shifts,
) {
  const { rows, values, width } = inputs;
  const [at, scale] = [mean?.address ?? 0, centering?.scale ?? 1];
  memory.kernel.center(images.address, images.stride, inputs.address, inputs.stride, rows, columns, at, scale);
  const from = images.values;
  shifts.forEach((sources, n) => {
    for (let p = 0; sources && p < rows; p++) {
      const value = from[sources[p] * width + n];
      values[p * width + n] = centering ? Math.fround(value - centering.mean[p]) * scale : value;
    }
  });
}

/** The way back to the images of gradients [P, N] of what D has seen of them. */
export function centerAndShiftBackward(memory: Memory, d: Matrix, centering: Centering | null, shifts: Shifts) {
  if (centering) memory.kernel.scale(d.address, d.end, centering.scale);
  const { rows, values, width } = d;
  const column = new Float32Array(rows);
  shifts.forEach((sources, n) => {
    if (!sources) return;
    column.fill(0);
    for (let p = 0; p < rows; p++) column[sources[p]] += values[p * width + n];
    for (let p = 0; p < rows; p++) values[p * width + n] = column[p];
  });
}
