/**
 * The kernel in WebAssembly with SIMD, kernel.wat.
 */

/** @typedef {import("./kernel.js").KernelBackend} KernelBackend */
/** @typedef {import("./kernel.js").Matrix} Matrix */
/** @typedef {import("./kernel.js").Rows} Rows */
/** @typedef {import("./kernel.js").Stretch} Stretch */

const PAGE = 65536;
/** Bytes of a number. */
const BYTES = 4;

/**
 * What kernel.wat exports.
 * @typedef {object} Exports
 * @property {WebAssembly.Memory} memory
 * @property {(...values: number[]) => void} linear
 * @property {(...values: number[]) => void} transposed
 */

/** @implements {KernelBackend} */
export class SimdKernel {
  /** Bytes in use; none stand at address 0. */
  #used = 16;

  /**
   * Compiles the module; throws without SIMD.
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  static async create(bytes) {
    if (typeof WebAssembly === "undefined" || !WebAssembly.validate(bytes))
      throw new Error("this browser has no WebAssembly with SIMD");
    const { instance } = await WebAssembly.instantiate(bytes);
    return new SimdKernel(/** @type {Exports} */ (/** @type {unknown} */ (instance.exports)));
  }

  /** @param {Exports} exports */
  constructor(exports) {
    this.exports = exports;
  }

  /**
   * @param {number} length
   * @returns {Stretch}
   */
  allocate(length) {
    const { memory } = this.exports;
    const address = this.#used;
    this.#used += Math.ceil((length * BYTES) / 16) * 16;
    const missing = this.#used - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
    return new WasmStretch(memory, address, length);
  }

  /**
   * @param {Matrix} x
   * @param {Rows} rows
   * @param {Matrix} W
   * @param {Matrix} b
   * @param {Matrix} y
   * @param {number} firstRow
   * @param {number} slope
   */
  linear(x, rows, W, b, y, firstRow, slope) {
    this.exports.linear(
      (x.start + rows.start) * BYTES,
      rows.stride * BYTES,
      rows.count,
      rows.length * BYTES,
      rows.pieces,
      rows.gap * BYTES,
      W.start * BYTES,
      W.rows,
      b.start * BYTES,
      (y.start + firstRow * y.stride) * BYTES,
      y.stride * BYTES,
      slope,
    );
  }

  /**
   * @param {Matrix} dy
   * @param {number} count
   * @param {Matrix} W
   * @param {Matrix} dx
   */
  transposed(dy, count, W, dx) {
    this.exports.transposed(
      dy.start * BYTES,
      dy.stride * BYTES,
      count,
      W.start * BYTES,
      W.rows,
      W.stride * BYTES,
      dx.start * BYTES,
      dx.stride * BYTES,
    );
  }
}

/** A stretch of the WebAssembly memory. */
class WasmStretch {
  /** @type {Float32Array} */
  #view;

  /**
   * @param {WebAssembly.Memory} memory
   * @param {number} address bytes
   * @param {number} length numbers
   */
  constructor(memory, address, length) {
    this.memory = memory;
    this.start = address / BYTES;
    this.length = length;
    this.#view = new Float32Array(memory.buffer, address, length);
  }

  /** A growing memory gets a new buffer and detaches the one before. */
  get values() {
    const { buffer } = this.memory;
    if (this.#view.buffer !== buffer) this.#view = new Float32Array(buffer, this.start * BYTES, this.length);
    return this.#view;
  }
}
