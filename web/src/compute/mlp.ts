/** A multilayer perceptron: generator or discriminator. */
import type { LayerSpec, MlpSpec } from "../kit/manifest";
import { readTensors } from "../kit/tensors";
import { newMemory, type Matrix, type Memory } from "./kernel";

/** Inputs that the layers compute at once, which bounds the memory for their outputs. */
export const CHUNK = 32;

interface Layer {
  W: Matrix; // [O, I]
  b: Matrix; // [O]
  y: Matrix; // Outputs after the activation [CHUNK, O]
  activation: LayerSpec["activation"];
}

export class Mlp {
  readonly layers: Layer[];
  readonly inputs: number;
  readonly outputs: number;
  readonly x: Matrix;
  /** Gradients with respect to the input of each layer [CHUNK, I], and to the output of the last. */
  #gradients: Matrix[] | null = null;

  constructor(
    readonly spec: Pick<MlpSpec, "layers" | "negativeSlope">,
    tensors: Record<string, Float32Array>,
    readonly memory: Memory,
  ) {
    this.layers = spec.layers.map(({ weight, bias, activation }) => ({
      W: memory.weights(tensors[weight], tensors[bias].length),
      b: memory.bias(tensors[bias]),
      y: memory.matrix(CHUNK, tensors[bias].length),
      activation,
    }));
    this.inputs = this.layers[0].W.columns;
    this.outputs = this.#last.b.columns;
    this.x = memory.matrix(CHUNK, this.inputs);
  }

  static load = async (spec: MlpSpec) => new Mlp(spec, await readTensors(spec.weights), await newMemory());

  get #last(): Layer {
    return this.layers[this.layers.length - 1];
  }

  /** Number of weights, about the multiplications for one input. */
  get numWeights(): number {
    return this.layers.reduce((sum, { W, b }) => sum + b.columns * W.columns, 0);
  }

  /** Returns the outputs [N, outputs] of inputs x [N, inputs]. Those of one do not depend on the others. */
  forward(x: Float32Array): Float32Array {
    const count = x.length / this.inputs;
    const outputs = new Float32Array(count * this.outputs);
    for (let n = 0; n < count; n += CHUNK) {
      const end = Math.min(n + CHUNK, count);
      this.x.write(x.subarray(n * this.inputs, end * this.inputs));
      this.compute(end - n, outputs.subarray(n * this.outputs, end * this.outputs));
    }
    return outputs;
  }

  /** Computes the outputs [N, outputs] of N rows of `x`, at most 32. */
  compute(count: number, outputs: Float32Array) {
    let { x } = this;
    for (const { W, b, y, activation } of this.layers) {
      this.memory.linear(x, count, W, b, y, this.#slope(activation));
      if (activation === "tanh") this.memory.tanh(y, count);
      x = y;
    }
    x.read(outputs);
  }

  #slope(activation: LayerSpec["activation"]): number {
    return activation === "leaky-relu" ? this.spec.negativeSlope : activation === "relu" ? 0 : 1;
  }

  /**
   * Returns the gradient with respect to the inputs [N, inputs] of the last `forward`, which still holds the outputs of all
   * layers, from that with respect to its outputs [N, outputs], N at most 32.
   */
  inputGradient(gradOutputs: Float32Array): Float32Array {
    const count = gradOutputs.length / this.outputs;
    if (count > CHUNK) throw new RangeError(`the gradient is of at most ${CHUNK} inputs, got ${count}`);
    const { memory, layers } = this;
    this.#gradients ??= [...layers.map(({ W }) => memory.matrix(CHUNK, W.columns)), memory.matrix(CHUNK, this.outputs)];
    this.#gradients[layers.length].write(gradOutputs);
    for (let index = layers.length - 1; index >= 0; index--) {
      const { W, y, activation } = layers[index];
      const dy = this.#gradients[index + 1];
      const length = count * dy.stride;
      multiplyByDerivative(dy.values, y.values, length, activation === "tanh" ? null : this.#slope(activation));
      memory.inputGradient(dy, count, W, this.#gradients[index]);
    }
    const gradient = new Float32Array(count * this.inputs);
    this.#gradients[0].read(gradient);
    return gradient;
  }
}

/**
 * Multiplies gradients by the derivative of an activation with outputs y: of LeakyReLU with a slope, at 0 as PyTorch, that of
 * a negative input; or of tanh, null.
 */
function multiplyByDerivative(gradient: Float32Array, y: Float32Array, length: number, slope: number | null) {
  if (slope === null) for (let i = 0; i < length; i++) gradient[i] *= 1 - y[i] * y[i];
  else if (slope !== 1) for (let i = 0; i < length; i++) if (!(y[i] > 0)) gradient[i] *= slope;
}
