/**
 * Dropout masks of the hidden state as a function of a seed: the same bits as `reviver.lstm.dropout` for a batch of one
 * sequence.
 *
 * - SplitMix64 (Steele, Lea & Flood 2014) maps the seed and the step to a 64-bit key.
 * - Two rounds of multiply and xor-shift (constants of Ettinger's "low bias" search) map the key and the index of a unit
 *   to 32 bits, a uniform number in [0, 1).
 *
 * Shapes: T time steps, H hidden size.
 */
import type { LstmContent } from "../kit/manifest";

const LOW_32 = 0xffffffff;

const wrap = (z: bigint) => BigInt.asUintN(64, z);

/** Returns the key of a step: output t · 2³² of SplitMix64 seeded with `seed`. */
function rowKey(seed: bigint, t: number): bigint {
  let z = wrap(seed + ((BigInt(t) << 32n) + 1n) * 0x9e3779b97f4a7c15n);
  z = wrap((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = wrap((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}

/** Returns 32 random bits of a unit. */
function unitBits(low: number, high: number, unit: number): number {
  let x = (Math.imul(unit, 0x9e3779b9) + low) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad) >>> 0;
  x = (x + high) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0xd35a2d97) >>> 0;
  return (x ^ (x >>> 15)) >>> 0;
}

/** The seed of the masks of one cell: s, s + 1, ... modulo 2⁶⁴ in the order layer 0 forward, layer 0 backward, layer 1, ... */
export const cellSeed = (seed: bigint, cell: number) => wrap(seed + BigInt(cell));

/**
 * Returns the masks of a cell, null if the hidden state stays as it is: random ones in training, 0 for a unit that is dropped,
 * else 1 / (1 - p), or 1 in zoneout. Without a seed, as after training, only zoneout has a mask: its expected value 1 - p.
 */
export function hiddenMasks(
  seed: bigint | null,
  steps: number,
  hiddenSize: number,
  p: number,
  kind: LstmContent["hiddenDropoutKind"],
): Float64Array | null {
  if (p === 0 || (seed === null && kind !== "zoneout")) return null;
  const masks = new Float64Array(steps * hiddenSize);
  if (seed === null) return masks.fill(1 - p);
  const threshold = Math.min(Math.floor(p * 2 ** 32 + 0.5), LOW_32);
  const kept = kind === "zoneout" ? 1 : 1 / (1 - p);
  for (let t = 0; t < steps; t++) {
    const key = rowKey(wrap(seed), kind === "variational" ? 0 : t); // one mask for all steps
    const [low, high] = [Number(key & 0xffffffffn), Number(key >> 32n)];
    for (let unit = 0; unit < hiddenSize; unit++)
      if (unitBits(low, high, unit) >= threshold) masks[t * hiddenSize + unit] = kept;
  }
  return masks;
}
