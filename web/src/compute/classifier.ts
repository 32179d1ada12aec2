/**
 * The convolutional classifier of generated images.
 *
 * A layer reads planes [C, (H + 2) · (W + 2)], with a border of zeros. One weight of the 3 × 3 of a kernel times a plane from
 * some number on is its part of all pixels, with two columns between the rows that nobody reads.
 */
import type { ClassifierSpec } from "../kit/manifest";
import { softmax } from "../kit/math";
import { readTensors, row, size } from "../kit/tensors";
import { BYTES, Memory, pad, type Matrix } from "./memory";
import { Mlp } from "./mlp";

/** A convolution, ReLU and max pooling. */
interface Convolution {
  x: Matrix; // Input [C, (H + 2) · (W + 2)]
  W: Matrix; // [O, C · 9]
  b: Matrix;
  y: Matrix; // Output before the pooling [O, H · (W + 2)]
  height: number;
  width: number;
}

export class Classifier {
  readonly convolutions: Convolution[];
  readonly head: Mlp; // Of the output of the last pooling [C, h, w]

  constructor(
    readonly spec: ClassifierSpec,
    tensors: Record<string, Float32Array>,
    readonly memory: Memory,
  ) {
    let [channels, height, width] = spec.imageShape;
    this.convolutions = spec.convolutions.map(({ weight, bias }) => {
      const outputs = tensors[bias].length;
      const convolution = {
        x: memory.matrix(channels, (height + 2) * (width + 2) + 16), // the last product reads beyond the end
        W: memory.matrix(outputs, channels * 9, tensors[weight]),
        b: memory.matrix(1, outputs, tensors[bias]),
        y: memory.matrix(outputs, height * (width + 2)),
        height,
        width,
      };
      [channels, height, width] = [outputs, height >> 1, width >> 1];
      return convolution;
    });
    this.head = new Mlp({ layers: spec.layers, negativeSlope: 0 }, tensors, memory);
  }

  static load = async (spec: ClassifierSpec) =>
    new Classifier(spec, await readTensors(spec.weights), await Memory.create());

  /** Returns the class probabilities [N, K] of images [N, C, H, W] in [-1, 1]. */
  probabilities(images: Float32Array): Float32Array {
    const { head, convolutions } = this;
    const pixels = size(this.spec.imageShape);
    const features = new Float32Array((images.length / pixels) * head.inputs);
    for (let n = 0; n * pixels < images.length; n++) {
      const found = convolutions.reduce((image, one) => this.#convolve(one, image), row(images, n, pixels));
      features.set(found, n * head.inputs);
    }
    return softmax(head.forward(features), head.outputs);
  }

  /** Returns the pooled output [O, H / 2, W / 2] of an image [C, H, W]. */
  #convolve({ x, W, b, y, height, width }: Convolution, image: Float32Array): Float32Array {
    const { kernel } = this.memory;
    const line = width + 2;
    for (let c = 0; c < x.rows; c++)
      for (let i = 0; i < height; i++)
        x.values.set(row(image, c * height + i, width), c * x.width + (i + 1) * line + 1);
    const columns = pad(height * line, 8);
    kernel.broadcast(b.address, y.address, y.stride, y.rows, columns);
    for (let k = 0; k < 9; k++) {
      const shift = Math.floor(k / 3) * line + (k % 3);
      kernel.product(
        ...[W.address + k * BYTES, W.stride, 9 * BYTES, x.address + shift * BYTES, x.stride],
        ...[y.address, y.stride, y.height, x.rows, columns],
      );
    }
    kernel.leaky(y.address, y.stride, y.rows, columns, 0);
    const pooled = new Float32Array(y.rows * (height >> 1) * (width >> 1));
    const source = y.values;
    let at = 0;
    for (let c = 0; c < y.rows; c++)
      for (let i = 0; i < height - 1; i += 2)
        for (let j = 0; j < width - 1; j += 2) {
          const [above, below] = [c * y.width + i * line + j, c * y.width + (i + 1) * line + j];
          pooled[at++] = Math.max(source[above], source[above + 1], source[below], source[below + 1]);
        }
    return pooled;
  }
}
