/**
 * The length curriculum, as `reviver.train.lstm.curriculum` and `reviver.data.palindromes`: each epoch has fresh palindromes of
 * up to one length; the next length begins once the accuracy on the validation set of this one reaches the threshold.
 */
import { exp, log, roundToEven } from "../kit/math";
import { row } from "../kit/tensors";
import { makePalindromes, rowKey, splitPalindromes, type Palindromes, type Split } from "./palindromes";
import { makeRng } from "../compute/random";
import type { LstmSettings } from "./settings";

/** Lengths of a run, in order: those of the curriculum, or one. */
export function lengthsOf({ curriculum, length, startLength, lengthFactor }: LstmSettings): number[] {
  if (curriculum !== "on") return [length];
  const lengths = [Math.min(startLength, length)];
  for (let exact = lengths[0]; lengths.at(-1)! < length;)
    lengths.push(Math.min(length, Math.max(lengths.at(-1)! + 1, roundToEven((exact *= lengthFactor)))));
  return lengths;
}

export function rateAt(settings: LstmSettings, length: number): number {
  const { learningRate, lrLengthExponent: p, curriculum } = settings;
  return curriculum !== "on" || p === 0 ? learningRate : learningRate * exp(p * log(lengthsOf(settings)[0] / length));
}

/** The data of an epoch at a length; `before` is what the run has of the epoch before, if any. */
export function dataOf(settings: LstmSettings, epoch: number, length: number, before: Split | null): Split {
  const { seed, curriculum, dataSize, trainFraction } = settings;
  if (curriculum !== "on")
    return before ?? splitPalindromes(makePalindromes(length, dataSize, makeRng(seed, "data")), trainFraction, seed);
  const known = before?.validation.length === length && (before.validation as Palindromes);
  const validation = known || heldOut(settings, length);
  return { train: fresh(settings, epoch, length, validation), validation };
}

function heldOut({ seed, dataSize, trainFraction }: LstmSettings, length: number): Palindromes {
  const total = 10 ** ((length + 1) >> 1);
  const size = roundToEven((1 - trainFraction) * Math.min(dataSize, total));
  return makePalindromes(length, Math.max(1, Math.min(size, total - 1)), makeRng(seed, `validation/${length}`));
}

function fresh(settings: LstmSettings, epoch: number, length: number, { halves: held }: Palindromes): Palindromes {
  const { seed, dataSize, trainFraction, minLengthFraction } = settings;
  const rng = makeRng(seed, `data/${epoch}`);
  const count = Math.max(1, roundToEven(dataSize * trainFraction));
  const least = Math.max(2, Math.ceil(minLengthFraction * length));
  const lengths = Uint8Array.from({ length: count }, () => least + rng.integer(length + 1 - least));
  const width = (length + 1) >> 1;
  const halves = Uint8Array.from({ length: count * width }, () => rng.integer(10));
  const known = new Set(Array.from({ length: held.length / width }, (_, n) => rowKey(row(held, n, width))));
  const isHeld = (n: number) => lengths[n] === length && known.has(rowKey(row(halves, n, width)));
  let rejected = [...lengths.keys()].filter(isHeld);
  while (rejected.length) {
    for (const n of rejected) row(halves, n, width).forEach((_, k, all) => (all[k] = rng.integer(10)));
    rejected = rejected.filter(isHeld);
  }
  return { count, width, length, halves, lengths };
}
