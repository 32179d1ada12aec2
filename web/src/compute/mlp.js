/**
 * A multilayer perceptron: generator or discriminator.
 */
import { readTensors } from "../data/tensors.js";
import { activate } from "./activations.js";

/** @typedef {import("../types.js").MlpSpec} MlpSpec */
/** @typedef {import("./kernel.js").Kernel} Kernel */

export class Mlp {
  /**
   * @param {MlpSpec} spec
   * @param {Record<string, Float32Array>} tensors
   * @param {Kernel} kernel
   */
  constructor(spec, tensors, kernel) {
    this.spec = spec;
    this.tensors = tensors;
    this.kernel = kernel;
  }

  /**
   * @param {MlpSpec} spec
   * @param {Kernel} kernel
   */
  static async load(spec, kernel) {
    return new Mlp(spec, await readTensors(spec.weights), kernel);
  }

  /**
   * Returns the outputs for a batch of inputs.
   * @param {Float32Array} x [N, inputs]
   * @param {number} count N
   * @returns {Float32Array} [N, outputs]
   */
  forward(x, count) {
    for (const layer of this.spec.layers) {
      x = this.kernel.linear(x, this.tensors[layer.weight], this.tensors[layer.bias], count);
      activate(x, layer.activation, this.spec.negativeSlope);
    }
    return x;
  }
}
