/**
 * The traces of the sequences that the panel shows; the latest ones are kept.
 */
import { targetOf } from "./state.js";

/** @typedef {import("../../models/lstm.js").Trace} Trace */
/** @typedef {import("./state.js").State} State */

const MAX_KEPT = 4;

export class Tracer {
  /** @type {Map<string, Trace>} */
  #kept = new Map();

  /** @param {import("../../models/lstm.js").Lstm} lstm */
  constructor(lstm) {
    this.lstm = lstm;
  }

  /** @param {State} state */
  traces(state) {
    return {
      first: this.#trace(state, state.values),
      second: state.second && this.#trace(state, state.second),
    };
  }

  /**
   * @param {State} state
   * @param {number[]} values
   * @returns {Trace}
   */
  #trace(state, values) {
    const { lstm } = this;
    const { stage, seed } = state;
    const target = targetOf(state, values);
    const key = JSON.stringify([stage, seed, target, values]);
    const trace =
      this.#kept.get(key) ??
      lstm.trace(stage, lstm.encode(values), { target, seed: seed === null ? null : BigInt(seed) });
    this.#kept.delete(key); // to the end, where the latest stand
    this.#kept.set(key, trace);
    if (this.#kept.size > MAX_KEPT) this.#kept.delete([...this.#kept.keys()][0]);
    return trace;
  }

  /**
   * Multiplications of the next `traces`, roughly.
   * @param {State} state
   */
  cost({ values, second }) {
    const { hiddenSize, numLayers, bidirectional, inputSize } = this.lstm.content;
    const cells = numLayers * (bidirectional ? 2 : 1);
    const steps = values.length + (second?.length ?? 0);
    const products = 8 * hiddenSize * (hiddenSize + inputSize) * cells * steps; // forward and backward
    return bidirectional ? products * (1 + steps / 2) : products;
  }
}
