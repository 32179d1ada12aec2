/**
 * A multilayer perceptron: generator or discriminator.
 */
import { readTensors } from "../data/tensors.js";
import { activate, multiplyByDerivative } from "./activations.js";

/** @typedef {import("../types.js").LayerSpec} LayerSpec */
/** @typedef {import("../types.js").MlpSpec} MlpSpec */
/** @typedef {import("./kernel.js").Kernel} Kernel */
/** @typedef {import("./kernel.js").Matrix} Matrix */

/** Inputs that the layers compute at once, which bounds the memory for their outputs. */
const CHUNK = 32;

/**
 * @typedef {object} Layer
 * @property {Matrix} W [O, I]
 * @property {Matrix} b [O]
 * @property {Matrix} y outputs after the activation [CHUNK, O]
 * @property {LayerSpec["activation"]} activation
 */

export class Mlp {
  /**
   * Gradients with respect to the input of each layer [CHUNK, I], and to the output of the last.
   * @type {Matrix[] | null}
   */
  #gradients = null;

  /**
   * @param {MlpSpec} spec
   * @param {Record<string, Float32Array>} tensors
   * @param {Kernel} kernel
   */
  constructor(spec, tensors, kernel) {
    this.kernel = kernel;
    this.slope = spec.negativeSlope;
    /** @type {Layer[]} */
    this.layers = spec.layers.map(({ weight, bias, activation }) => ({
      W: kernel.weights(tensors[weight], tensors[bias].length),
      b: kernel.bias(tensors[bias]),
      y: kernel.matrix(CHUNK, tensors[bias].length),
      activation,
    }));
    this.inputs = this.layers[0].W.columns;
    this.outputs = this.layers[this.layers.length - 1].b.columns;
    this.x = kernel.matrix(CHUNK, this.inputs);
  }

  /**
   * @param {MlpSpec} spec
   * @param {Kernel} kernel
   */
  static async load(spec, kernel) {
    return new Mlp(spec, await readTensors(spec.weights), kernel);
  }

  /** Number of weights, about the multiplications for one input. */
  get numWeights() {
    return this.layers.reduce((sum, { W, b }) => sum + b.columns * W.columns, 0);
  }

  /**
   * Returns the outputs for a batch of inputs. Those of one do not depend on the others.
   * @param {Float32Array} x [N, inputs]
   * @param {number} count N
   * @returns {Float32Array} [N, outputs]
   */
  forward(x, count) {
    const outputs = new Float32Array(count * this.outputs);
    for (let n = 0; n < count; n += CHUNK) {
      const end = Math.min(n + CHUNK, count);
      this.x.write(x.subarray(n * this.inputs, end * this.inputs));
      this.#computeLayers(end - n);
      this.layers[this.layers.length - 1].y.read(outputs.subarray(n * this.outputs, end * this.outputs));
    }
    return outputs;
  }

  /**
   * Returns the gradient with respect to the inputs of the last `forward`, which still holds the outputs of all layers.
   * @param {Float32Array} gradOutputs gradient with respect to its outputs [N, outputs], N at most 32
   * @param {number} count N
   * @returns {Float32Array} [N, inputs]
   */
  inputGradient(gradOutputs, count) {
    if (count > CHUNK) throw new RangeError(`the gradient is of at most ${CHUNK} inputs, got ${count}`);
    const { kernel, layers } = this;
    this.#gradients ??= [...layers.map(({ W }) => kernel.matrix(CHUNK, W.columns)), kernel.matrix(CHUNK, this.outputs)];
    this.#gradients[layers.length].write(gradOutputs);
    for (let index = layers.length - 1; index >= 0; index--) {
      const { W, y, activation } = layers[index];
      const dy = this.#gradients[index + 1];
      const length = count * dy.stride;
      multiplyByDerivative(dy.values.subarray(0, length), y.values.subarray(0, length), activation, this.slope);
      kernel.transposed(dy, count, W, this.#gradients[index]);
    }
    const gradient = new Float32Array(count * this.inputs);
    this.#gradients[0].read(gradient);
    return gradient;
  }

  /** @param {number} count rows of `x` */
  #computeLayers(count) {
    let { x } = this;
    for (const { W, b, y, activation } of this.layers) {
      const slope = activation === "leaky-relu" ? this.slope : activation === "relu" ? 0 : 1;
      this.kernel.linear(x, count, W, b, y, { slope });
      if (activation === "tanh") activate(y.values.subarray(0, count * y.stride), activation);
      x = y;
    }
  }
}
