/**
 * Tensors in data blocks, see `TensorSpec` in types.js.
 */
import { readBlock } from "./blocks.js";

/** @typedef {import("../types.js").TensorSpec} TensorSpec */
/** @typedef {import("../types.js").TensorBlock} TensorBlock */

/**
 * Number of entries of a shape.
 * @param {number[]} shape
 */
export const size = (shape) => shape.reduce((product, length) => product * length, 1);

/** The 65,536 half-precision numbers as single-precision ones, by their bits. */
const HALVES = (() => {
  const values = new Float32Array(1 << 16);
  for (let bits = 0; bits < values.length; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) values[bits] = sign * fraction * 2 ** -24;
    else if (exponent === 31) values[bits] = fraction ? NaN : sign * Infinity;
    else values[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return values;
})();

/**
 * Returns the numbers of one tensor in an inflated block.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {TensorSpec} spec
 * @returns {Float32Array}
 */
function decode(bytes, spec) {
  const count = size(spec.shape);
  const { offset } = spec;
  if (spec.dtype === "f32") return new Float32Array(bytes.buffer, bytes.byteOffset + offset, count);
  const values = new Float32Array(count);
  if (spec.dtype === "f16") {
    const scale = spec.scale ?? 1;
    for (let i = 0; i < count; i++) values[i] = scale * HALVES[bytes[offset + i] | (bytes[offset + count + i] << 8)];
  } else {
    for (let i = 0; i < count; i++) values[i] = bytes[offset + i];
  }
  return values;
}

/**
 * Returns all tensors of a block by name.
 * @param {TensorBlock} block
 * @returns {Promise<Record<string, Float32Array>>}
 */
export async function readTensors(block) {
  const bytes = await readBlock(block.block);
  return Object.fromEntries(Object.entries(block.tensors).map(([name, spec]) => [name, decode(bytes, spec)]));
}

/**
 * Returns images of a block as pixels in [-1, 1], one after the other.
 * @param {Float32Array} bytes as `readTensors` gives them
 */
export function toPixels(bytes) {
  return bytes.map((byte) => byte / 127.5 - 1);
}
