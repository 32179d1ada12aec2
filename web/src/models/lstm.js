/**
 * An LSTM run in the page: its networks at several stages of training, ready to trace.
 *
 * Shapes: T time steps, I input size, H hidden size, C classes (1 of a number).
 */
import { readTensors } from "../data/tensors.js";

/** @typedef {import("../types.js").LstmContent} LstmContent */

/**
 * Values of one cell at all steps, in the order of the input. A vanilla RNN has only `h`.
 * @typedef {object} CellTrace
 * @property {number} layer counted from 0
 * @property {"forward" | "backward"} direction
 * @property {Float64Array} i input gate [T, H]
 * @property {Float64Array} f forget gate [T, H]
 * @property {Float64Array} g cell candidate [T, H]
 * @property {Float64Array} o output gate [T, H]
 * @property {Float64Array} c cell state [T, H]
 * @property {Float64Array} h hidden state after dropout [T, H]
 * @property {Float64Array | null} mask of the hidden state [T, H]; null without dropout
 * @property {Float64Array} gradC ‖∂loss/∂c_t‖ [T]
 * @property {Float64Array} gradH ‖∂loss/∂h_t‖ [T]
 */

/**
 * @typedef {object} Trace
 * @property {number} steps steps of the LSTM: T, or with patches the number of patches
 * @property {CellTrace[]} cells layer by layer, forward before backward
 * @property {Float64Array | null} outputs after each step, from the input up to it: class probabilities, or the number
 *   [T, C]; null for a network that pools or patches, which has no output before the end
 * @property {Float64Array} output after the last step [C], for a class at every step that of the last step
 * @property {number | null} loss null without a target
 */

export class Lstm {
  /**
   * @param {LstmContent} content
   * @param {Record<string, Float32Array>[]} stages weights of each stage by name
   */
  constructor(content, stages) {
    this.content = content;
    this.stages = stages;
  }

  /** @param {LstmContent} content */
  static async load(content) {
    return new Lstm(content, await Promise.all(content.stages.map((stage) => readTensors(stage.weights))));
  }

  /**
   * Returns the input of a sequence that a user typed: encoded symbols, or standardised numbers.
   * @param {number[]} values as in `Example`
   * @returns {Float64Array} [T, I]
   */
  encode(values) {
    return Float64Array.from(values);
  }

  /**
   * Computes the network step by step, and the gradients of the loss.
   * @param {number} stage index of the stage
   * @param {Float64Array} x [T, I]
   * @param {{target?: number | number[] | null, seed?: bigint | null}} [options] `seed` of the dropout masks, as Python's
   *   for a batch of one sequence; no dropout if null
   * @returns {Trace}
   */
  trace(stage, x, options = {}) {
    void [stage, x, options];
    throw new Error("not written yet");
  }
}
