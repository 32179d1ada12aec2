/**
 * The convolutional classifier of generated images.
 *
 * A layer reads its input as [H + 2, W + 2, C], with a border of zeros and the channels last: the 3 × 3 pixels around one
 * are then 3 pieces of 3·C numbers, which the kernel takes as they are. C is padded to a multiple of 4.
 */
import { readTensors } from "../data/tensors.js";
import { softmax } from "./activations.js";
import { pad } from "./kernel.js";

/** @typedef {import("../types.js").ClassifierSpec} ClassifierSpec */
/** @typedef {import("./kernel.js").Kernel} Kernel */
/** @typedef {import("./kernel.js").Matrix} Matrix */

/**
 * A convolution, ReLU and max pooling.
 * @typedef {object} Convolution
 * @property {Matrix} x input [H + 2, (W + 2) · C]
 * @property {Matrix} W [O, 9 · C]
 * @property {Matrix} b [O]
 * @property {Matrix} y output before the pooling [H · W, O]
 * @property {number} channels C, padded
 * @property {number} height H
 * @property {number} width W
 * @property {number} slope of the activation below 0
 */

export class Classifier {
  /**
   * @param {ClassifierSpec} spec
   * @param {Record<string, Float32Array>} tensors
   * @param {Kernel} kernel
   */
  constructor(spec, tensors, kernel) {
    this.spec = spec;
    this.kernel = kernel;
    let [channels, height, width] = spec.imageShape;
    /** @type {Convolution[]} */
    this.convolutions = spec.convolutions.map(({ weight, bias, activation }) => {
      const outputs = tensors[bias].length;
      const convolution = {
        x: kernel.matrix(height + 2, (width + 2) * pad(channels)),
        W: kernel.weights(channelsLast(tensors[weight], outputs, channels, 9), outputs),
        b: kernel.bias(tensors[bias]),
        y: kernel.matrix(height * width, outputs),
        channels: pad(channels),
        height,
        width,
        slope: slopeOf(activation),
      };
      [channels, height, width] = [outputs, height >> 1, width >> 1];
      return convolution;
    });
    /** Output of the last pooling [h, w, C]. */
    this.features = kernel.matrix(1, height * width * pad(channels));
    this.layers = spec.layers.map(({ weight, bias, activation }, index) => {
      const outputs = tensors[bias].length;
      const values = index === 0 ? channelsLast(tensors[weight], outputs, channels, height * width) : tensors[weight];
      return {
        W: kernel.weights(values, outputs),
        b: kernel.bias(tensors[bias]),
        y: kernel.matrix(1, outputs),
        slope: slopeOf(activation),
      };
    });
  }

  /**
   * @param {ClassifierSpec} spec
   * @param {Kernel} kernel
   */
  static async load(spec, kernel) {
    return new Classifier(spec, await readTensors(spec.weights), kernel);
  }

  /**
   * Returns the class probabilities of images.
   * @param {Float32Array} images [N, C, H, W] in [-1, 1]
   * @returns {Float32Array} [N, K]
   */
  probabilities(images) {
    const logits = this.logits(images);
    softmax(logits, this.spec.classNames.length);
    return logits;
  }

  /**
   * Returns the logits of images.
   * @param {Float32Array} images [N, C, H, W] in [-1, 1]
   * @returns {Float32Array} [N, K]
   */
  logits(images) {
    const pixels = this.spec.imageShape.reduce((a, b) => a * b);
    const numClasses = this.spec.classNames.length;
    const logits = new Float32Array((images.length / pixels) * numClasses);
    for (let n = 0; n < images.length / pixels; n++) {
      this.#writeImage(images.subarray(n * pixels, (n + 1) * pixels));
      this.convolutions.forEach((convolution, index) => {
        this.#convolve(convolution);
        maxPool(convolution, this.convolutions[index + 1] ?? null, this.features);
      });
      let x = this.features;
      for (const { W, b, y, slope } of this.layers) {
        this.kernel.linear(x, 1, W, b, y, { slope });
        x = y;
      }
      x.read(logits.subarray(n * numClasses, (n + 1) * numClasses));
    }
    return logits;
  }

  /** @param {Float32Array} image [C, H, W] */
  #writeImage(image) {
    const { x, channels, height, width } = this.convolutions[0];
    const { values, stride } = x;
    const plane = height * width;
    for (let c = 0; c * plane < image.length; c++)
      for (let i = 0; i < height; i++)
        for (let j = 0; j < width; j++)
          values[(i + 1) * stride + (j + 1) * channels + c] = image[c * plane + i * width + j];
  }

  /** @param {Convolution} convolution */
  #convolve({ x, W, b, y, channels, height, width, slope }) {
    const length = 3 * channels;
    for (let i = 0; i < height; i++) {
      const rows = { count: width, start: i * x.stride, stride: channels, length, pieces: 3, gap: x.stride - length };
      this.kernel.linear(x, rows, W, b, y, { firstRow: i * width, slope });
    }
  }
}

/** @param {import("../types.js").LayerSpec["activation"]} activation ReLU or none */
const slopeOf = (activation) => (activation === "relu" ? 0 : 1);

/**
 * Reorders weights [O, C, positions] to [O, positions, C], with C padded to a multiple of 4.
 * @param {Float32Array} values
 * @param {number} outputs O
 * @param {number} channels C
 * @param {number} positions
 */
function channelsLast(values, outputs, channels, positions) {
  const padded = pad(channels);
  const reordered = new Float32Array(outputs * positions * padded);
  for (let o = 0; o < outputs; o++)
    for (let c = 0; c < channels; c++)
      for (let k = 0; k < positions; k++)
        reordered[(o * positions + k) * padded + c] = values[(o * channels + c) * positions + k];
  return reordered;
}

/**
 * Takes the maximum of each 2 × 2 pixels, into the input of the next convolution or the features.
 * @param {Convolution} convolution
 * @param {Convolution | null} next
 * @param {Matrix} features
 */
function maxPool({ y, height, width }, next, features) {
  const source = y.values;
  const { stride } = y;
  const [rows, columns] = [height >> 1, width >> 1];
  const target = (next ? next.x : features).values;
  const targetStride = next ? next.x.stride : columns * stride;
  const border = next ? targetStride + stride : 0; // from the corner to the first pixel inside the border
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      const from = (2 * i * width + 2 * j) * stride;
      const to = border + i * targetStride + j * stride;
      const below = from + width * stride;
      for (let c = 0; c < stride; c++) {
        const upper = source[from + c] > source[from + stride + c] ? source[from + c] : source[from + stride + c];
        const lower = source[below + c] > source[below + stride + c] ? source[below + c] : source[below + stride + c];
        target[to + c] = upper > lower ? upper : lower;
      }
    }
}
