/** A multilayer perceptron: generator or discriminator. */
import type { LayerSpec, MlpSpec } from "../kit/manifest";
import { readTensors } from "../kit/tensors";
import { Memory, pad, type Matrix } from "./memory";

/** Inputs that the layers compute at once, which bounds the memory for their outputs. */
const CHUNK = 32;

interface Layer {
  W: Matrix; // [O, I]
  b: Matrix; // [1, O]
  y: Matrix; // Outputs after the activation [O, CHUNK]
  activation: LayerSpec["activation"];
}

export class Mlp {
  readonly layers: Layer[];
  readonly inputs: number;
  readonly outputs: number;
  readonly #x: Matrix; // [I, CHUNK]
  /** Gradients with respect to the input of each layer [I, CHUNK], and to the output of the last. */
  #gradients: Matrix[] | null = null;

  constructor(
    readonly spec: Pick<MlpSpec, "layers" | "negativeSlope">,
    tensors: Record<string, Float32Array>,
    readonly memory: Memory,
  ) {
    this.layers = spec.layers.map(({ weight, bias, activation }) => {
      const [W, b] = [tensors[weight], tensors[bias]];
      const O = b.length;
      const y = memory.matrix(O, CHUNK);
      return { W: memory.matrix(O, W.length / O, W), b: memory.matrix(1, O, b), y, activation };
    });
    this.inputs = this.layers[0].W.columns;
    this.outputs = this.layers.at(-1)!.y.rows;
    this.#x = memory.matrix(this.inputs, CHUNK);
  }

  static load = async (spec: MlpSpec) => new Mlp(spec, await readTensors(spec.weights), await Memory.create());

  /** Returns the outputs [N, outputs] of inputs x [N, inputs]. Those of one do not depend on the others. */
  forward(x: Float32Array): Float32Array {
    const count = x.length / this.inputs;
    const outputs = new Float32Array(count * this.outputs);
    for (let n = 0; n < count; n += CHUNK) {
      const chunk = Math.min(CHUNK, count - n);
      this.#x.writeColumns(x.subarray(n * this.inputs, (n + chunk) * this.inputs));
      outputs.set(this.#compute(pad(chunk, 8)).readColumns(chunk), n * this.outputs);
    }
    return outputs;
  }

  #compute(columns: number): Matrix {
    const { memory } = this;
    return this.layers.reduce((x, { W, b, y, activation }) => {
      memory.linear(x, W, b, y, columns);
      const at = [y.address, y.stride, y.rows, columns];
      if (activation === "tanh") memory.kernel.tanhForward(...at);
      else memory.kernel.leaky(...at, this.#slope(activation));
      return y;
    }, this.#x);
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
    const columns = pad(count, 8);
    this.#gradients ??= [this.#x, ...layers.map(({ y }) => y)].map(({ rows }) => memory.matrix(rows, CHUNK));
    this.#gradients[layers.length].writeColumns(gradOutputs);
    for (let index = layers.length - 1; index >= 0; index--) {
      const { W, y, activation } = layers[index];
      const dy = this.#gradients[index + 1];
      const at = [dy.address, dy.stride, y.address, y.stride, y.rows, columns];
      if (activation === "tanh") memory.kernel.tanhBackward(...at);
      else memory.kernel.leakyBackward(...at, this.#slope(activation));
      memory.inputGradient(dy, W, this.#gradients[index], columns);
    }
    return this.#gradients[0].readColumns(count);
  }
}
