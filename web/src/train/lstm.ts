/**
 * The LSTM classifier in training: forward, backpropagation through time, and an update, as `reviver.lstm.cell` and
 * `reviver.train.lstm.training`; h_t after dropout is m_t ⊙ h_t.
 *
 * Shapes: B batch (columns, filled up to a multiple of 8), T steps, I input size, H hidden size, C classes.
 */
import { crossEntropy } from "./losses";
import { Memory, pad, Weights, type Matrix } from "./memory";
import type { Rng } from "./random";

export interface LstmSizes {
  steps: number;
  inputSize: number;
  hiddenSize: number;
  numClasses: number;
  /** Largest B. */
  batchSize: number;
}

/** What each step keeps for the way back. */
interface Step {
  /** [I, B] */
  x: Matrix;
  /** Pre-activations, then gates i, f, g, o, then gradients, [4H, B]. */
  z: Matrix;
  /** Cell state, its tanh, dropout mask, hidden state, [H, B]. */
  c: Matrix;
  u: Matrix;
  m: Matrix;
  h: Matrix;
}

export class LstmNetwork {
  readonly weights: Weights;
  readonly steps: Step[];
  /** [C, B]; then their gradients. */
  readonly logits: Matrix;
  readonly #zero: Matrix;
  readonly #ones: Matrix;
  readonly #dh: Matrix;
  readonly #dc: Matrix;
  readonly #room: Matrix;
  /** Last hidden state of each sequence, and its gradient, where their lengths differ. */
  readonly #last: Matrix;
  readonly #dLast: Matrix;
  /** Steps of the longest sequence of a batch, and of each [B], where they differ. */
  #count: number;
  #ends: Uint8Array | null = null;

  constructor(
    readonly memory: Memory,
    readonly sizes: LstmSizes,
  ) {
    const { steps, inputSize: I, hiddenSize: H, numClasses: C, batchSize } = sizes;
    this.weights = new Weights(memory, { W: [4 * H, I], U: [4 * H, H], b: [4 * H], W_out: [C, H], b_out: [C] });
    const matrix = (rows: number) => memory.matrix(rows, pad(batchSize, 8));
    [this.#zero, this.#ones, this.#dh, this.#dc] = [matrix(H), matrix(H), matrix(H), matrix(H)];
    [this.#last, this.#dLast] = [matrix(H), matrix(H)];
    this.#count = steps;
    this.steps = Array.from({ length: steps }, () => ({
      ...{ x: matrix(I), z: matrix(4 * H), c: matrix(H), u: matrix(H), m: matrix(H), h: matrix(H) },
    }));
    this.logits = matrix(C);
    this.#room = memory.matrix(pad(batchSize, 8), H + 32);
    this.#ones.values.fill(1);
  }

  /** New weights as `cell.reset_weights` and `reset_output`: Xavier-uniform for each gate, biases 0, of the forget gate 1. */
  initialize(rng: Rng, forgetBias = 1) {
    const { inputSize: I, hiddenSize: H, numClasses: C } = this.sizes;
    const { W, U, b, W_out } = this.weights.w;
    const gates = (columns: number) => {
      const all = new Float32Array(4 * H * columns);
      for (let gate = 0; gate < 4; gate++) all.set(rng.xavier(H, columns), gate * H * columns);
      return all;
    };
    W.write(gates(I));
    U.write(gates(H));
    b.values.fill(forgetBias, H, 2 * H);
    W_out.write(rng.xavier(C, H));
  }

  /** Samples the dropout masks of all steps from a seed; p = 0 or no seed: no dropout. */
  drop(p: number, seed: bigint | null, batch: number) {
    const { kernel } = this.memory;
    const threshold = Math.min(Math.floor(p * 2 ** 32 + 0.5), 2 ** 32 - 1);
    this.steps.slice(0, this.#count).forEach(({ m }, t) => {
      if (seed === null || p === 0) m.values.set(this.#ones.values);
      else
        kernel.masks(seed, BigInt(t), m.address, m.stride, m.rows, pad(batch, 8), threshold, Math.fround(1 / (1 - p)));
    });
  }

  /** Says how many steps a batch has, and each of its sequences, where they differ. */
  resize(count: number, ends: Uint8Array | null) {
    [this.#count, this.#ends] = [count, ends];
  }

  /** Calls with the address of each number of the last hidden state of each sequence, and the step that it belongs to. */
  #eachEnd(use: (place: number, step: number) => void, step?: number) {
    const { width, rows } = this.#last;
    this.#ends!.forEach((end, n) => {
      if (step === undefined || end - 1 === step) for (let u = 0; u < rows; u++) use(u * width + n, end - 1);
    });
  }

  /** The last hidden state of each sequence of the batch. */
  #read(): Matrix {
    const { steps } = this;
    if (!this.#ends) return steps[this.#count - 1].h;
    this.#last.values.fill(0);
    this.#eachEnd((place, step) => (this.#last.values[place] = steps[step].h.values[place]));
    return this.#last;
  }

  /** Computes the logits of the inputs x of the steps. */
  forward(batch: number) {
    const { memory } = this;
    const steps = this.steps.slice(0, this.#count);
    const { W, U, b, W_out, b_out } = this.weights.w;
    const columns = pad(batch, 8);
    steps.forEach(({ x, z, c, u, m, h }, t) => {
      memory.linear(x, W, b, z, columns);
      if (t > 0) memory.product(U, steps[t - 1].h, z, columns);
      const before = t > 0 ? steps[t - 1].c : this.#zero;
      memory.kernel.lstmForward(z.address, c.end - c.address, ...[before, c, u, m, h].map(({ address }) => address));
    });
    memory.linear(this.#read(), W_out, b_out, this.logits, columns);
  }

  /** Returns the mean loss and the number of correct classes of the logits, which become their gradients. */
  loss = (targets: Uint8Array) => crossEntropy(this.logits, targets);

  /** Computes the gradients of all weights from those of the logits. */
  backward(batch: number) {
    const { memory, steps, weights } = this;
    const { U, W_out } = weights.w;
    const { g } = weights;
    const columns = pad(batch, 8);
    const [dh, dc] = [this.#dh, this.#dc];
    weights.clearGradients();
    dh.values.fill(0);
    dc.values.fill(0);
    memory.linearGradient(this.logits, this.#read(), g.W_out, g.b_out, this.#room, columns);
    const dLast = this.#ends ? this.#dLast : dh;
    memory.inputGradient(this.logits, W_out, dLast, columns);
    for (let t = this.#count - 1; t >= 0; t--) {
      if (this.#ends) this.#eachEnd((place) => (dh.values[place] = dLast.values[place]), t); // 0 before
      const { x, z, c, u, m } = steps[t];
      const before = t > 0 ? steps[t - 1].c : this.#zero;
      memory.kernel.lstmBackward(z.address, c.end - c.address, ...[before, u, m, dh, dc].map(({ address }) => address));
      memory.linearGradient(z, x, g.W, g.b, this.#room, columns);
      if (t === 0) break;
      memory.productTransposed(z, steps[t - 1].h, g.U, this.#room, columns);
      memory.inputGradient(z, U, dh, columns);
    }
  }
}
