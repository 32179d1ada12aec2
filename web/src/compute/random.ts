/** Random numbers with the same bits in every browser. */
import { log } from "../kit/math";

/** xoshiro128** (Blackman & Vigna 2018), seeded by SplitMix32. */
export class Random {
  #state: Uint32Array;
  #spare: number | null = null;

  /** `seed` is an integer from 0 to 2³² - 1. */
  constructor(seed: number) {
    let counter = seed >>> 0;
    this.#state = Uint32Array.from({ length: 4 }, () => {
      counter = (counter + 0x9e3779b9) >>> 0;
      let z = counter;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return z ^ (z >>> 16);
    });
  }

  /** Returns an integer from 0 to 2³² - 1. */
  uint32(): number {
    const s = this.#state;
    const result = Math.imul(rotate(Math.imul(s[1], 5), 7), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 11);
    return result;
  }

  uniform = () => this.uint32() / 2 ** 32; // Returns a number from 0 to 1, without 1

  integer = (n: number) => Math.floor(this.uniform() * n); // Returns an integer from 0 to n - 1

  /** Returns a normal number, by Marsaglia's polar method. */
  normal(): number {
    if (this.#spare !== null) {
      const spare = this.#spare;
      this.#spare = null;
      return spare;
    }
    let u, v, s;
    do {
      u = 2 * this.uniform() - 1;
      v = 2 * this.uniform() - 1;
      s = u * u + v * v;
    } while (s >= 1 || s === 0);
    const factor = Math.sqrt((-2 * log(s)) / s);
    this.#spare = v * factor;
    return u * factor;
  }

  normals = (count: number) => Float32Array.from({ length: count }, () => this.normal());

  /** Shuffles a list in place. */
  shuffle<T>(list: T[]): T[] {
    for (let index = list.length - 1; index > 0; index--) {
      const other = this.integer(index + 1);
      [list[index], list[other]] = [list[other], list[index]];
    }
    return list;
  }
}

const rotate = (x: number, k: number) => (x << k) | (x >>> (32 - k));
