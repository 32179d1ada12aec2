/** SHA-256 (FIPS 180-4), at once: the browser's own answers later, and not in every kind of page. */

/** First 32 bits of the fractional part of a root of the first primes, in exact arithmetic. */
function fractions(count: number, root: 2n | 3n): Int32Array {
  const found = new Int32Array(count);
  for (let n = 2, k = 0; k < count; n++) {
    let isPrime = true;
    for (let d = 2; d * d <= n; d++) isPrime &&= n % d > 0;
    if (!isPrime) continue;
    const target = BigInt(n) << (32n * root);
    let low = 0n;
    for (let bit = 1n << 40n; bit > 0n; bit >>= 1n) if ((low + bit) ** root <= target) low += bit;
    found[k++] = Number(low & 0xffffffffn);
  }
  return found;
}

const K = fractions(64, 3n);
const START = fractions(8, 2n);
const rotate = (x: number, n: number) => (x >>> n) | (x << (32 - n));

/** Returns the digest of bytes, 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const length = ((bytes.length + 72) >> 6) << 6;
  const padded = new Uint8Array(length);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(length - 4, bytes.length << 3);
  const state = START.slice();
  const w = new Int32Array(64);
  for (let start = 0; start < length; start += 64) {
    for (let t = 0; t < 16; t++) w[t] = view.getInt32(start + 4 * t);
    for (let t = 16; t < 64; t++) {
      const [x, y] = [w[t - 15], w[t - 2]];
      const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
      const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
      w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let t = 0; t < 64; t++) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[t] + w[t]) | 0;
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [a, b, c, d, e, f, g, h] = [(t1 + t2) | 0, a, b, c, (d + t1) | 0, e, f, g];
    }
    [a, b, c, d, e, f, g, h].forEach((value, k) => (state[k] += value));
  }
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((value, k) => digest.setInt32(4 * k, value));
  return new Uint8Array(digest.buffer);
}

/** The digest as hexadecimal text. */
export const sha256Hex = (bytes: Uint8Array) =>
  Array.from(sha256(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
