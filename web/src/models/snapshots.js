/**
 * Pictures of the same latents at some moments of the training.
 */
import { readTensors, size, toPixels } from "../data/tensors.js";

/** @typedef {import("../types.js").GanContent} GanContent */
/** @typedef {import("../types.js").SnapshotSpec} SnapshotSpec */

/** @type {WeakMap<GanContent, Promise<Snapshots>>} */
const loaded = new WeakMap();

export class Snapshots {
  /**
   * @param {SnapshotSpec[]} moments
   * @param {[number, number, number]} shape (C, H, W)
   * @param {Record<string, Float32Array>} bytes
   */
  constructor(moments, shape, bytes) {
    this.moments = moments;
    this.shape = shape;
    this.bytes = bytes;
    this.pixels = size(shape);
    /** Number of latents N. */
    this.count = bytes.images.length / (moments.length * this.pixels);
  }

  /**
   * Loads the pictures of a run once.
   * @param {GanContent} content
   * @returns {Promise<Snapshots>}
   */
  static load(content) {
    const { snapshots, imageShape } = content;
    if (!snapshots) throw new Error(`the run ${content.name} has no pictures of its training`);
    const loading =
      loaded.get(content) ??
      readTensors(snapshots.data).then((bytes) => new Snapshots(snapshots.moments, imageShape, bytes));
    loaded.set(content, loading);
    return loading;
  }

  /**
   * Returns the pixels of latent n at a moment.
   * @param {number} moment index
   * @param {number} n
   * @returns {Float32Array} [P] in [-1, 1]
   */
  image(moment, n) {
    const start = (moment * this.count + n) * this.pixels;
    return toPixels(this.bytes.images.subarray(start, start + this.pixels));
  }

  /**
   * Returns the pixels of a real image.
   * @param {number} n
   * @returns {Float32Array} [P] in [-1, 1]
   */
  real(n) {
    return toPixels(this.bytes.real.subarray(n * this.pixels, (n + 1) * this.pixels));
  }
}
