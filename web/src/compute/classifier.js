/**
 * The convolutional classifier of generated images.
 */
import { readTensors } from "../data/tensors.js";
import { activate, softmax } from "./activations.js";

/** @typedef {import("../types.js").ClassifierSpec} ClassifierSpec */
/** @typedef {import("./kernel.js").Kernel} Kernel */

export class Classifier {
  /**
   * @param {ClassifierSpec} spec
   * @param {Record<string, Float32Array>} tensors
   * @param {Kernel} kernel
   */
  constructor(spec, tensors, kernel) {
    this.spec = spec;
    this.tensors = tensors;
    this.kernel = kernel;
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
    const [channels, height, width] = this.spec.imageShape;
    const pixels = channels * height * width;
    const count = images.length / pixels;
    const numClasses = this.spec.classNames.length;
    const logits = new Float32Array(count * numClasses);
    for (let n = 0; n < count; n++) {
      logits.set(this.#logits(images.subarray(n * pixels, (n + 1) * pixels)), n * numClasses);
    }
    softmax(logits, numClasses);
    return logits;
  }

  /**
   * @param {Float32Array} image
   */
  #logits(image) {
    let [channels, height, width] = this.spec.imageShape;
    let x = image;
    for (const layer of this.spec.convolutions) {
      const outputs = this.tensors[layer.bias].length;
      const patches = new Float32Array(height * width * channels * 9);
      let k = 0;
      for (let row = 0; row < height; row++)
        for (let column = 0; column < width; column++)
          for (let c = 0; c < channels; c++)
            for (let i = row - 1; i <= row + 1; i++)
              for (let j = column - 1; j <= column + 1; j++, k++)
                if (i >= 0 && i < height && j >= 0 && j < width) patches[k] = x[(c * height + i) * width + j];
      const y = this.kernel.linear(patches, this.tensors[layer.weight], this.tensors[layer.bias], height * width);
      activate(y, layer.activation);
      const [half, halfWidth] = [height >> 1, width >> 1];
      x = new Float32Array(outputs * half * halfWidth);
      for (let c = 0; c < outputs; c++)
        for (let row = 0; row < half; row++)
          for (let column = 0; column < halfWidth; column++) {
            let max = -Infinity;
            for (const i of [2 * row, 2 * row + 1])
              for (const j of [2 * column, 2 * column + 1]) max = Math.max(max, y[(i * width + j) * outputs + c]);
            x[(c * half + row) * halfWidth + column] = max;
          }
      [channels, height, width] = [outputs, half, halfWidth];
    }
    for (const layer of this.spec.layers) {
      x = this.kernel.linear(x, this.tensors[layer.weight], this.tensors[layer.bias], 1);
      activate(x, layer.activation);
    }
    return x;
  }
}
