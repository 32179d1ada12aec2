/** The palindromes of a run, as `reviver.data.palindromes` makes and splits them; only the first half of each is kept. */
import { makeRng, type Rng } from "../compute/random";
import { roundToEven } from "../kit/math";

export const DIGITS = 10;
export const DIGIT_NAMES = [..."0123456789"];
/** Maximum number of palindromes for which a sample comes from a permutation of all. */
const PERMUTATION_LIMIT = 10 ** 7;

export interface Palindromes {
  count: number;
  width: number; // ⌈T/2⌉
  length: number; // T, of the longest
  halves: Uint8Array; // [count, width]
  lengths?: Uint8Array; // T of each [count], where they differ
}

/** Own sequences, standardized. */
export interface Examples {
  count: number;
  length: number; // Numbers of the longest, and 1
  lengths: Uint8Array;
  values: Float32Array; // [count, length - 1], filled up with 0
  targets: Uint8Array; // Index of the class [count]
}

export type Sequences = Palindromes | Examples;

export interface Split<S extends Sequences = Sequences> {
  train: S;
  validation: S;
}

/** Returns all palindromes of `length` digits if there are at most `size`, else `size` distinct random ones. */
export function makePalindromes(length: number, size: number, rng: Rng): Palindromes {
  const width = (length + 1) >> 1;
  const total = DIGITS ** width;
  if (total > size && total > PERMUTATION_LIMIT) return randomDistinct(length, size, rng);
  const count = Math.min(total, size);
  const numbers = total > size ? rng.permutation(total) : null;
  const halves = new Uint8Array(count * width);
  for (let n = 0; n < count; n++) {
    let rest = numbers ? numbers[n] : n;
    for (let k = width - 1; k >= 0; k--, rest = Math.floor(rest / DIGITS)) halves[n * width + k] = rest % DIGITS;
  }
  return { count, width, length, halves };
}

/** Key of a row of digits, of as many of them as Python compares. */
export const rowKey = (row: Uint8Array) => String.fromCharCode(...row.subarray(0, 18));

function randomDistinct(length: number, size: number, rng: Rng): Palindromes {
  const width = (length + 1) >> 1;
  const rows = new Map<string, Uint8Array>(); // keeps the order
  while (rows.size < size) {
    const missing = size - rows.size;
    for (let n = 0; n < missing; n++) {
      const row = Uint8Array.from({ length: width }, () => rng.integer(DIGITS));
      const key = rowKey(row);
      if (!rows.has(key)) rows.set(key, row);
    }
  }
  const halves = new Uint8Array(size * width);
  [...rows.values()].forEach((row, n) => halves.set(row, n * width));
  return { count: size, width, length, halves };
}

/** Returns the training and the validation set of a run, disjoint. */
export function splitPalindromes(all: Palindromes, trainFraction: number, seed: number) {
  const trainSize = roundToEven(trainFraction * all.count);
  if (trainSize <= 0 || trainSize >= all.count)
    throw new Error(`a training fraction of ${trainFraction} leaves the training or the validation set empty`);
  const order = makeRng(seed, "split").permutation(all.count);
  const take = (indices: Int32Array): Palindromes => {
    const { width, length, halves } = all;
    const taken = new Uint8Array(indices.length * width);
    indices.forEach((n, k) => taken.set(halves.subarray(n * width, (n + 1) * width), k * width));
    return { count: indices.length, width, length, halves: taken };
  };
  return { train: take(order.subarray(0, trainSize)), validation: take(order.subarray(trainSize)) };
}

/** Number t of sequence n, such as a digit of a palindrome; beyond its end, any. */
export const valueAt = (data: Sequences, n: number, t: number) =>
  "values" in data
    ? data.values[n * (data.length - 1) + t]
    : data.halves[n * data.width + Math.max(0, Math.min(t, (data.lengths?.[n] ?? data.length) - 1 - t))];

export const targetOf = (data: Sequences, n: number) => ("values" in data ? data.targets[n] : valueAt(data, n, 0));
