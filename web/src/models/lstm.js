/**
 * An LSTM run in the page: its networks at several stages of training, ready to trace.
 *
 * All computation is in double precision, from the rounded weights of the page.
 *
 * Shapes: T time steps, I input size, H hidden size, C classes (1 of a number), D directions, S steps of the LSTM.
 */
import { cellSeed, hiddenMasks } from "../compute/dropout.js";
import * as lstm from "../compute/lstm.js";
import { pool } from "../compute/pooling.js";
import * as rnn from "../compute/rnn.js";
import { addProduct, addTransposedProduct, crossEntropy, softmax } from "../compute/vectors.js";
import { readTensors } from "../data/tensors.js";

/** @typedef {import("../types.js").LstmContent} LstmContent */

/**
 * Values of one cell at all steps, in the order of the input. A vanilla RNN has only `h` and `gradH`; its other arrays
 * are empty.
 * @typedef {object} CellTrace
 * @property {number} layer counted from 0
 * @property {"forward" | "backward"} direction
 * @property {Float64Array} i input gate [S, H]
 * @property {Float64Array} f forget gate [S, H]
 * @property {Float64Array} g cell candidate [S, H]
 * @property {Float64Array} o output gate [S, H]
 * @property {Float64Array} c cell state [S, H]
 * @property {Float64Array} h hidden state after dropout [S, H]
 * @property {Float64Array | null} mask of the hidden state [S, H]; null without dropout
 * @property {Float64Array} gradC ‖∂loss/∂c_t‖ [S]; empty without a target
 * @property {Float64Array} gradH ‖∂loss/∂h_t‖ [S]; empty without a target
 */

/**
 * @typedef {object} Trace
 * @property {number} steps S of the LSTM: T, or with patches the number of patches
 * @property {Float64Array} input of the first layer, with patches one row per patch [S, patchSize · I]
 * @property {CellTrace[]} cells layer by layer, forward before backward
 * @property {Float64Array | null} outputs after each step, from the input up to it: class probabilities, or the number
 *   [S, C]. Null for a network that pools or patches, which has no output before the end; for a bidirectional one if it
 *   would take too long (see `MAX_PREFIX_PRODUCTS`); and if they are not wanted. For a class at every step they are the
 *   outputs that the loss compares, in a bidirectional network from the whole input.
 * @property {Float64Array} output after the last step [C], for a class at every step that of the last step
 * @property {Float64Array | null} attention weight of each step [S]; null for another pooling
 * @property {number | null} loss cross-entropy, its mean over the steps, or the squared error; null without a target
 */

/**
 * z = W x_t + U h_{t-1} + b of one unit, and its activation.
 * @typedef {object} AffineTerms
 * @property {number} Wx
 * @property {number} Uh
 * @property {number} b
 * @property {number} z
 * @property {number} value
 */

/**
 * The numbers of the equations of one unit at one step. For the backward direction t - 1 is the step after t.
 *
 * - A gate: i_t = σ(z), f_t = σ(z), g_t = tanh(z), o_t = σ(z); of a vanilla RNN only h = tanh(z).
 * - c_t = f_t · c_{t-1} + i_t · g_t: `kept` + `written`.
 * - h_t = o_t · tanh(c_t) before dropout; then m_t · h_t, or in zoneout m_t · h_t + (1 - m_t) · h_{t-1}.
 * @typedef {object} GateTerms
 * @property {Partial<Record<"i" | "f" | "g" | "o" | "h", AffineTerms>>} gates
 * @property {{previous: number, kept: number, written: number, value: number} | null} c null of a vanilla RNN
 * @property {{tanhC: number | null, beforeDropout: number, mask: number | null, previous: number, value: number}} h
 */

/**
 * @typedef {object} TraceOptions
 * @property {number | number[] | null} [target] class, class at every step, or number; no gradients if null
 * @property {bigint | null} [seed] of the dropout masks of the hidden state, see `cellSeed`; no dropout if null. Dropout
 *   between two layers is left out.
 * @property {boolean} [outputs] whether `outputs` are wanted, true by default
 */

/** What the output layer computes from the top layer, and how gradients go back.
 * @typedef {object} Head
 * @property {Float64Array} output
 * @property {Float64Array | null} attention
 * @property {number | null} loss
 * @property {Float64Array} dTop gradient of the loss for the output of the top layer [S, D·H]; empty without a target
 */

/** Weights of a stage in double precision.
 * @typedef {object} Weights
 * @property {lstm.CellWeights[]} cells
 * @property {Float64Array} W_out
 * @property {Float64Array} b_out
 * @property {import("../compute/pooling.js").AttentionWeights | null} attention
 */

/**
 * Most multiplications for the outputs of a bidirectional network after each step. It reads every prefix of the input
 * again, T² / 2 steps in all: with one layer of 128 units up to 122 steps, in about half a second.
 */
export const MAX_PREFIX_PRODUCTS = 5e8;

const GATES = /** @type {const} */ (["i", "f", "g", "o"]);
/** Letters of the gates' weights, in the order of `GATES`. */
const LETTERS = ["i", "f", "c", "o"];

export class Lstm {
  /** @type {Map<number, Weights>} */
  #weights = new Map();

  /**
   * @param {LstmContent} content
   * @param {Record<string, Float32Array>[]} stages weights of each stage by name
   */
  constructor(content, stages) {
    this.content = content;
    this.stages = stages;
    this.directions = content.bidirectional ? 2 : 1;
    /** Whether there is an output after each step. */
    this.hasOutputs = content.pooling === "last" && content.patchSize === 1;
  }

  /** @param {LstmContent} content */
  static async load(content) {
    return new Lstm(content, await Promise.all(content.stages.map((stage) => readTensors(stage.weights))));
  }

  /**
   * Returns the input of a sequence that a user typed: encoded symbols, or standardized numbers.
   * @param {number[]} values as in `Example`
   * @returns {Float64Array} [T, I]
   */
  encode(values) {
    const { inputKind, encoding, inputSize, standardization } = this.content;
    if (inputKind === "symbols" && encoding === "onehot") {
      const x = new Float64Array(values.length * inputSize);
      values.forEach((symbol, t) => {
        if (symbol >= 0 && symbol < inputSize) x[t * inputSize + symbol] = 1;
      });
      return x;
    }
    if (!standardization) return Float64Array.from(values);
    const { mean, scale } = standardization;
    return Float64Array.from(values, (value, n) => (value - mean[n % inputSize]) / scale[n % inputSize]);
  }

  /**
   * Computes the network step by step, and the gradients of the loss.
   * @param {number} stage index of the stage
   * @param {Float64Array} x [T, I], at least one step
   * @param {TraceOptions} [options]
   * @returns {Trace}
   */
  trace(stage, x, { target = null, seed = null, outputs = true } = {}) {
    const weights = this.#stageWeights(stage);
    const { input, steps } = this.#patch(x);
    this.#checkTarget(target, steps);
    const { cells, inputs } = this.#forward(weights, input, steps, seed);
    const top = inputs[inputs.length - 1];
    const head = this.#head(weights, top, steps, target);
    if (head.loss !== null) this.#backward(weights, cells, steps, inputs, head.dTop);
    return {
      steps,
      input,
      cells,
      outputs: outputs ? this.#outputs(weights, input, steps, seed, cells[0], top) : null,
      output: head.output,
      attention: head.attention,
      loss: head.loss,
    };
  }

  /**
   * Returns the numbers of the equations of one unit at one step.
   * @param {number} stage that was traced
   * @param {number} cell index in `trace.cells`
   * @param {Trace} trace
   * @param {number} t
   * @param {number} unit
   * @returns {GateTerms}
   */
  gateTerms(stage, cell, trace, t, unit) {
    const { W, U, b } = this.#stageWeights(stage).cells[cell];
    const H = this.content.hiddenSize;
    const values = trace.cells[cell];
    const below = cell - (cell % this.directions);
    const input = below ? this.#join(trace.cells.slice(below - this.directions, below), trace.steps) : trace.input;
    const I = input.length / trace.steps;
    const now = t * H + unit;
    const step = values.direction === "backward" ? t + 1 : t - 1; // the step before, as the cell reads
    const isFirst = step < 0 || step >= trace.steps;
    /** @param {number} row @returns {Omit<AffineTerms, "value">} */
    const affine = (row) => {
      let [Wx, Uh] = [0, 0];
      for (let j = 0; j < I; j++) Wx += W[row * I + j] * input[t * I + j];
      if (!isFirst) for (let j = 0; j < H; j++) Uh += U[row * H + j] * values.h[step * H + j];
      return { Wx, Uh, b: b[row], z: b[row] + Wx + Uh };
    };
    const previous = isFirst ? 0 : values.h[step * H + unit];
    const mask = values.mask && values.mask[now];
    if (this.content.cell === "rnn") {
      const terms = affine(unit);
      const value = Math.tanh(terms.z);
      return {
        gates: { h: { ...terms, value } },
        c: null,
        h: { tanhC: null, beforeDropout: value, mask, previous, value: values.h[now] },
      };
    }
    const cBefore = isFirst ? 0 : values.c[step * H + unit];
    const tanhC = Math.tanh(values.c[now]);
    return {
      gates: Object.fromEntries(GATES.map((gate, k) => [gate, { ...affine(k * H + unit), value: values[gate][now] }])),
      c: {
        previous: cBefore,
        kept: values.f[now] * cBefore,
        written: values.i[now] * values.g[now],
        value: values.c[now],
      },
      h: { tanhC, beforeDropout: values.o[now] * tanhC, mask, previous, value: values.h[now] },
    };
  }

  /**
   * Returns the weights of a stage in double precision.
   * @param {number} stage
   * @returns {Weights}
   */
  #stageWeights(stage) {
    const known = this.#weights.get(stage);
    if (known) return known;
    const tensors = this.stages[stage];
    /** @param {...string} names */
    const join = (...names) => Float64Array.from(names.flatMap((name) => Array.from(tensors[name])));
    const isRnn = this.content.cell === "rnn";
    const count = isRnn ? 1 : this.content.numLayers * this.directions;
    const weights = {
      cells: Array.from({ length: count }, (_, k) => {
        /** @param {string} matrix */
        const gather = (matrix) =>
          isRnn ? join(matrix) : join(...LETTERS.map((letter) => `lstm.layers.${k}.${matrix}_${letter}`));
        return { W: gather("W"), U: gather("U"), b: gather("b") };
      }),
      W_out: join("W_out"),
      b_out: join("b_out"),
      attention: this.content.pooling === "attention" ? { W: join("W_att"), b: join("b_att"), u: join("u_att") } : null,
    };
    this.#weights.set(stage, weights);
    return weights;
  }

  /**
   * Returns the input as patches; the last one is padded with 0.
   * @param {Float64Array} x [T, I]
   * @returns {{input: Float64Array, steps: number}}
   */
  #patch(x) {
    const { inputSize, patchSize } = this.content;
    if (x.length === 0 || x.length % inputSize) throw new Error(`x must be [T, ${inputSize}], got ${x.length} numbers`);
    const steps = Math.ceil(x.length / inputSize / patchSize);
    const input = new Float64Array(steps * patchSize * inputSize);
    input.set(x);
    return { input, steps };
  }

  /**
   * Throws an error if a target does not fit the outputs.
   * @param {TraceOptions["target"]} target
   * @param {number} steps
   */
  #checkTarget(target, steps) {
    if (target === null || target === undefined) return;
    const { target: kind, outputSize } = this.content;
    const targets = Array.isArray(target) ? target : [target];
    /** @param {number} value */
    const fits = (value) =>
      kind === "number" ? Number.isFinite(value) : Number.isInteger(value) && value >= 0 && value < outputSize;
    const isEveryStep = kind === "class at every step";
    if (Array.isArray(target) !== isEveryStep || targets.length !== (isEveryStep ? steps : 1) || !targets.every(fits))
      throw new Error(`target must be a ${kind}${kind === "number" ? "" : ` below ${outputSize}`}, got ${target}`);
  }

  /**
   * Computes all layers.
   * @param {Weights} weights
   * @param {Float64Array} x [S, patchSize · I]
   * @param {number} steps S
   * @param {bigint | null} seed
   * @param {CellTrace | null} [first] the first cell, if it is known
   * @returns {{cells: CellTrace[], inputs: Float64Array[]}} the cells, and the input of each layer and the output of the
   *   last one
   */
  #forward(weights, x, steps, seed, first = null) {
    /** @type {CellTrace[]} */
    const cells = [];
    const inputs = [x];
    weights.cells.forEach((cellWeights, k) => {
      const direction = k % this.directions ? "backward" : "forward";
      const layer = Math.floor(k / this.directions);
      const known = k === 0 ? first : null;
      cells.push(known ?? this.#forwardCell(cellWeights, inputs[layer], steps, layer, direction, seed));
      if (k % this.directions === this.directions - 1) inputs.push(this.#join(cells.slice(-this.directions), steps));
    });
    return { cells, inputs };
  }

  /**
   * Computes one cell.
   * @param {lstm.CellWeights} weights
   * @param {Float64Array} x
   * @param {number} steps
   * @param {number} layer
   * @param {"forward" | "backward"} direction
   * @param {bigint | null} seed
   * @returns {CellTrace}
   */
  #forwardCell(weights, x, steps, layer, direction, seed) {
    const { cell, hiddenSize, hiddenDropout, hiddenDropoutKind } = this.content;
    const reverse = direction === "backward";
    const index = layer * this.directions + Number(reverse);
    const chosen = seed === null ? null : cellSeed(seed, index);
    const mask = hiddenMasks(chosen, steps, hiddenSize, hiddenDropout, hiddenDropoutKind);
    const none = new Float64Array(0);
    const values =
      cell === "rnn"
        ? { i: none, f: none, g: none, o: none, c: none, h: rnn.forward(weights, x, steps, mask) }
        : lstm.forward(weights, x, steps, { reverse, mask, zoneout: hiddenDropoutKind === "zoneout" });
    return { layer, direction, ...values, mask, gradC: none, gradH: none };
  }

  /**
   * Fills in the gradients of the cells.
   * @param {Weights} weights
   * @param {CellTrace[]} cells
   * @param {number} steps
   * @param {Float64Array[]} inputs of each layer
   * @param {Float64Array} dTop gradient for the output of the top layer [S, D·H]
   */
  #backward(weights, cells, steps, inputs, dTop) {
    if (this.content.cell === "rnn") {
      cells[0].gradH = rnn.backward(weights.cells[0], cells[0].h, dTop, cells[0].mask);
      return;
    }
    const zoneout = this.content.hiddenDropoutKind === "zoneout";
    let dOutput = dTop;
    for (let layer = this.content.numLayers - 1; layer >= 0; layer--) {
      const dInput = new Float64Array(layer ? inputs[layer].length : 0);
      for (let d = 0; d < this.directions; d++) {
        const k = layer * this.directions + d;
        const run = { reverse: d === 1, mask: cells[k].mask, zoneout };
        const dh = this.#part(dOutput, steps, d);
        const { gradC, gradH, dx } = lstm.backward(weights.cells[k], cells[k], dh, run, layer > 0);
        Object.assign(cells[k], { gradC, gradH });
        for (let n = 0; n < dx.length; n++) dInput[n] += dx[n];
      }
      dOutput = dInput;
    }
  }

  /**
   * Computes the output, the loss, and its gradient for the output of the top layer.
   * @param {Weights} weights
   * @param {Float64Array} top [S, D·H]
   * @param {number} steps
   * @param {TraceOptions["target"]} target
   * @returns {Head}
   */
  #head(weights, top, steps, target) {
    if (this.content.target === "class at every step") return this.#everyStepHead(weights, top, steps, target);
    const pooled = pool(this.content.pooling, top, steps, this.directions, weights.attention);
    const logits = this.#logits(weights, pooled.p, 0);
    const output = this.#probabilities(logits);
    const head = { output, attention: pooled.attention, loss: null, dTop: new Float64Array(0) };
    if (typeof target !== "number") return head;
    const dp = new Float64Array(pooled.p.length);
    addTransposedProduct(dp, 0, weights.W_out, this.#lossGradient(output, target), dp.length);
    return { ...head, loss: this.#loss(logits, target), dTop: pooled.backward(dp) };
  }

  /**
   * The same for a class at every step.
   * @param {Weights} weights
   * @param {Float64Array} top
   * @param {number} steps
   * @param {TraceOptions["target"]} target
   * @returns {Head}
   */
  #everyStepHead(weights, top, steps, target) {
    const F = top.length / steps;
    const last = this.#probabilities(this.#logits(weights, top, (steps - 1) * F));
    const head = { output: last, attention: null, loss: null, dTop: new Float64Array(0) };
    if (!Array.isArray(target)) return head;
    const dTop = new Float64Array(top.length);
    let loss = 0;
    for (let t = 0; t < steps; t++) {
      const logits = this.#logits(weights, top, t * F);
      loss += this.#loss(logits, target[t]) / steps;
      const dLogits = this.#lossGradient(this.#probabilities(logits), target[t]).map((value) => value / steps);
      addTransposedProduct(dTop, t * F, weights.W_out, dLogits, F);
    }
    return { ...head, loss, dTop };
  }

  /**
   * Returns the output after each step, see `Trace`.
   * @param {Weights} weights
   * @param {Float64Array} input
   * @param {number} steps
   * @param {bigint | null} seed
   * @param {CellTrace} first the first cell
   * @param {Float64Array} top output of the top layer [S, D·H]
   * @returns {Float64Array | null} [S, C]
   */
  #outputs(weights, input, steps, seed, first, top) {
    if (!this.hasOutputs) return null;
    const reads = this.directions === 2 && this.content.target !== "class at every step";
    if (reads && this.#prefixProducts(weights, steps) > MAX_PREFIX_PRODUCTS) return null;
    const C = this.content.outputSize;
    const F = top.length / steps;
    const I = input.length / steps;
    const outputs = new Float64Array(steps * C);
    for (let t = 0; t < steps; t++) {
      const logits = reads
        ? this.#prefixLogits(weights, input.subarray(0, (t + 1) * I), t + 1, seed, first)
        : this.#logits(weights, top, t * F);
      outputs.set(this.#probabilities(logits), t * C);
    }
    return outputs;
  }

  /**
   * Returns the logits of a bidirectional network that reads only the first steps.
   * @param {Weights} weights
   * @param {Float64Array} x
   * @param {number} steps
   * @param {bigint | null} seed
   * @param {CellTrace} whole the first cell over the whole input; forward, a step depends only on those before it
   */
  #prefixLogits(weights, x, steps, seed, whole) {
    const first = { ...whole, h: whole.h.subarray(0, steps * this.content.hiddenSize) };
    const { inputs } = this.#forward(weights, x, steps, seed, first);
    return this.#logits(weights, pool("last", inputs[inputs.length - 1], steps, 2, null).p, 0);
  }

  /**
   * Multiplications to read all prefixes of the input.
   * @param {Weights} weights
   * @param {number} steps
   */
  #prefixProducts(weights, steps) {
    const perStep = weights.cells.slice(1).reduce((sum, { W, U }) => sum + W.length + U.length, 0);
    return ((steps * (steps + 1)) / 2) * perStep;
  }

  /**
   * Returns W_out h + b_out.
   * @param {Weights} weights
   * @param {Float64Array} h holds h from `start`
   * @param {number} start
   */
  #logits({ W_out, b_out }, h, start) {
    const logits = b_out.slice();
    addProduct(logits, W_out, h, start, W_out.length / b_out.length);
    return logits;
  }

  /**
   * Returns the class probabilities of logits, or the number itself.
   * @param {Float64Array} logits
   */
  #probabilities(logits) {
    return this.content.target === "number" ? logits.slice() : softmax(logits);
  }

  /**
   * @param {Float64Array} logits
   * @param {number} target
   */
  #loss(logits, target) {
    return this.content.target === "number" ? (logits[0] - target) ** 2 : crossEntropy(logits, target);
  }

  /**
   * Returns the gradient of the loss for the logits, or for the number.
   * @param {Float64Array} output probabilities, or the number
   * @param {number} target
   */
  #lossGradient(output, target) {
    if (this.content.target === "number") return output.map((value) => 2 * (value - target));
    return output.map((probability, k) => probability - Number(k === target));
  }

  /**
   * Returns the hidden states of the cells of a layer side by side.
   * @param {CellTrace[]} cells D of them
   * @param {number} steps
   * @returns {Float64Array} [S, D·H]
   */
  #join(cells, steps) {
    if (cells.length === 1) return cells[0].h;
    const H = this.content.hiddenSize;
    const joined = new Float64Array(steps * H * cells.length);
    for (let t = 0; t < steps; t++)
      cells.forEach(({ h }, d) => joined.set(h.subarray(t * H, (t + 1) * H), (t * cells.length + d) * H));
    return joined;
  }

  /**
   * Returns the part of [S, D·H] that belongs to a direction.
   * @param {Float64Array} joined
   * @param {number} steps
   * @param {number} direction
   * @returns {Float64Array} [S, H]
   */
  #part(joined, steps, direction) {
    if (this.directions === 1) return joined;
    const H = this.content.hiddenSize;
    const part = new Float64Array(steps * H);
    for (let t = 0; t < steps; t++) {
      const start = (t * this.directions + direction) * H;
      part.set(joined.subarray(start, start + H), t * H);
    }
    return part;
  }
}
