/**
 * Seeded random numbers that are the same in every browser: only operations that IEEE 754 rounds exactly, so no Math.log
 * or Math.cos, whose last bit is up to the browser.
 */

/** xoshiro128** (Blackman & Vigna 2018), seeded by SplitMix32. */
export class Random {
  /** @type {Uint32Array} */
  #state;
  /** @type {number | null} */
  #spare = null;

  /** @param {number} seed integer from 0 to 2³² - 1 */
  constructor(seed) {
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
  uint32() {
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

  /** Returns a number from 0 to 1, without 1. */
  uniform() {
    return this.uint32() / 2 ** 32;
  }

  /**
   * Returns an integer from 0 to n - 1.
   * @param {number} n
   */
  integer(n) {
    return Math.floor(this.uniform() * n);
  }

  /** Returns a normal number, by Marsaglia's polar method. */
  normal() {
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
    const factor = Math.sqrt((-2 * ln(s)) / s);
    this.#spare = v * factor;
    return u * factor;
  }

  /**
   * Returns normal numbers.
   * @param {number} count
   * @returns {Float32Array}
   */
  normals(count) {
    return Float32Array.from({ length: count }, () => this.normal());
  }
}

/**
 * Rotates the bits of an integer to the left.
 * @param {number} x
 * @param {number} k
 */
const rotate = (x, k) => (x << k) | (x >>> (32 - k));

/**
 * Returns the natural logarithm of a number in (0, 1): with x = m · 2^e, ln x = 2 artanh((m - 1) / (m + 1)) + e ln 2.
 * @param {number} x
 */
function ln(x) {
  let exponent = 0;
  for (; x < Math.SQRT1_2; exponent--) x *= 2;
  const t = (x - 1) / (x + 1);
  let sum = 0;
  for (let k = 21; k >= 1; k -= 2) sum = sum * t * t + 1 / k;
  return 2 * t * sum + exponent * Math.LN2;
}
