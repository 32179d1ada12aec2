/**
 * Traces networks that Python describes, for tests/explorer/test_lstm.py:
 *
 *     node lstm.mjs FILE
 *
 * FILE has an array of cases; the traces go to standard output, in the same order.
 */
import { readFile } from "node:fs/promises";
import { argv, cpuUsage, stdout } from "node:process";
import { cellSeed, hiddenMasks } from "../src/compute/dropout.js";
import { Lstm } from "../src/models/lstm.js";

/**
 * A network and a sequence; or, without `weights`, only masks.
 * @typedef {object} Case
 * @property {import("../src/types.js").LstmContent} content
 * @property {Record<string, number[]>} [weights]
 * @property {number[]} values as in `Example`
 * @property {number | number[] | null} target
 * @property {string | null} seed
 * @property {number} steps of the masks
 * @property {[number, number, number] | null} gate cell, step and unit of `gateTerms`
 * @property {boolean} [isTimed] whether only the time matters
 */

/**
 * Returns JSON in which typed arrays are arrays.
 * @param {unknown} value
 */
const toJson = (value) =>
  JSON.stringify(value, (_, entry) => (entry instanceof Float64Array ? Array.from(entry) : entry));

/** @param {Case} example */
function run(example) {
  const { content, weights, values, target, seed, steps, gate } = example;
  const bits = seed === null ? null : BigInt(seed);
  if (!weights) {
    const { hiddenSize, hiddenDropout, hiddenDropoutKind, numLayers } = content;
    return Array.from({ length: numLayers }, (_, cell) =>
      hiddenMasks(bits === null ? null : cellSeed(bits, cell), steps, hiddenSize, hiddenDropout, hiddenDropoutKind),
    );
  }
  const entries = Object.entries(weights).map(([name, numbers]) => [name, Float32Array.from(numbers)]);
  const network = new Lstm(content, [Object.fromEntries(entries)]);
  const x = network.encode(values);
  const start = cpuUsage(); // other processes do not count
  const trace = network.trace(0, x, { target, seed: bits });
  if (example.isTimed) return { milliseconds: cpuUsage(start).user / 1000 };
  return { x, trace, terms: gate && network.gateTerms(0, gate[0], trace, gate[1], gate[2]) };
}

const cases = JSON.parse(await readFile(argv[2], "utf8"));
stdout.write(toJson(cases.map(run)));
