/**
 * The CODE of `reviver gan interpolate RUN --view CODE`: the two ends of an interpolation and its path, as text.
 *
 * Unpadded base64url of: version 1; path (0 linear, 1 spherical); steps between the ends; 0; the latent size Z (uint16);
 * z₀ and z₁ in half precision; the CRC-32 of all bytes before (uint32). All little-endian. src/reviver/gan/view.py reads it.
 */
import { PATHS } from "./paths.js";

/** @typedef {import("./paths.js").PathKind} PathKind */

/**
 * @typedef {object} View
 * @property {PathKind} path
 * @property {number} steps images between the ends, from 0 to 48
 * @property {Float32Array} start z₀ [Z], in half precision, see `toHalf`
 * @property {Float32Array} end z₁ [Z]
 */

const VERSION = 1;
/** Maximum number of images between the ends. */
export const MAX_STEPS = 48;
const HEADER = 6;
const CHECKSUM = 4;

/**
 * Rounds numbers to half precision, so that they survive a code as they are.
 * @param {Float32Array} values
 * @returns {Float32Array}
 */
export const toHalf = (values) => values.map((value) => fromHalfBits(toHalfBits(value)));

/**
 * Encodes a view.
 * @param {View} view
 * @returns {string}
 */
export function encodeView({ path, steps, start, end }) {
  const size = start.length;
  const bytes = new Uint8Array(HEADER + 4 * size + CHECKSUM);
  const data = new DataView(bytes.buffer);
  bytes.set([VERSION, PATHS.indexOf(path), steps, 0]);
  data.setUint16(4, size, true);
  [...start, ...end].forEach((value, k) => data.setUint16(HEADER + 2 * k, toHalfBits(value), true));
  data.setUint32(bytes.length - CHECKSUM, crc32(bytes.subarray(0, -CHECKSUM)), true);
  return toBase64url(bytes);
}

/**
 * Decodes a view, which may come from a URL.
 * @param {string} code
 * @param {number} size Z of the run
 * @returns {View | null} null if it is damaged or of another latent size
 */
export function decodeView(code, size) {
  const bytes = fromBase64url(code);
  if (!bytes || bytes.length !== HEADER + 4 * size + CHECKSUM) return null;
  const data = new DataView(bytes.buffer);
  const [version, path, steps, zero] = bytes;
  if (version !== VERSION || path >= PATHS.length || steps > MAX_STEPS || zero !== 0) return null;
  if (data.getUint16(4, true) !== size) return null;
  if (data.getUint32(bytes.length - CHECKSUM, true) !== crc32(bytes.subarray(0, -CHECKSUM))) return null;
  const latents = Float32Array.from({ length: 2 * size }, (_, k) => fromHalfBits(data.getUint16(HEADER + 2 * k, true)));
  if (!latents.every(Number.isFinite)) return null;
  return { path: PATHS[path], steps, start: latents.slice(0, size), end: latents.slice(size) };
}

/**
 * Returns the bits of a number in half precision, rounded to nearest, ties to even.
 * @param {number} value
 */
function toHalfBits(value) {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00; // halfway from the largest, 65504, to 2¹⁶
  if (magnitude < 2 ** -14) return sign | roundToEven(magnitude * 2 ** 24); // subnormal; 1024 is the smallest normal
  let exponent = 15;
  let fraction = magnitude;
  for (; fraction >= 2; exponent++) fraction /= 2;
  for (; fraction < 1; exponent--) fraction *= 2;
  return sign | ((exponent << 10) + roundToEven((fraction - 1) * 1024)); // 1024 carries into the exponent
}

/** @param {number} bits */
function fromHalfBits(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** @param {number} x at least 0 */
function roundToEven(x) {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/**
 * The CRC-32 of zlib.
 * @param {Uint8Array} bytes
 */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** @param {Uint8Array} bytes */
function toBase64url(bytes) {
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/**
 * Returns the bytes of an unpadded base64url text, null if it is none.
 * @param {string} text
 */
function fromBase64url(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return null;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  return toBase64url(bytes) === text ? bytes : null; // else bits after the last byte are not zero
}
