/** What D sees of images x: s (x - m), as `reviver.gan.centering`. */
import type { Matrix, Memory } from "../compute/memory";

/** What a byte of an image is, from black to white. */
export const BYTE_VALUES = Float32Array.from({ length: 256 }, (_, byte) => Math.fround(byte / 127.5) - 1);

/** The mean image m, and s = √(E‖x‖² / E‖x - m‖²). */
export interface Centering {
  mean: Float32Array<ArrayBuffer>;
  scale: number; // In single precision
}

const found = new WeakMap<Uint8Array, Centering>(); // It takes a second

/** Returns the centering of images in bytes [N, pixels], from sums of integers. */
export function centeringOf(bytes: Uint8Array, pixels: number): Centering {
  const known = found.get(bytes);
  if (known) return known;
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
  const centering = { mean: Float32Array.from(mean), scale };
  found.set(bytes, centering);
  return centering;
}

/** Centers images [P, N] for D, into `inputs`: some columns. */
export function center(memory: Memory, images: Matrix, inputs: Matrix, columns: number, mean: Matrix, scale: number) {
  const { rows } = inputs;
  memory.kernel.center(
    images.address,
    images.stride,
    inputs.address,
    inputs.stride,
    rows,
    columns,
    mean.address,
    scale,
  );
}
