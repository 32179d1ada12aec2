/**
 * A recurrent network in the page: its weights at several stages of training, ready to trace.
 *
 * All computation is in double precision, from the rounded weights of the page. Shapes as in trace.ts.
 */
import { hiddenMasks } from "../compute/dropout";
import type { Cell } from "../compute/cell_text";
import { cellGradients, quantitiesOf, traceCell, type Numbers } from "../compute/cell_trace";
import { Memory, type Matrix } from "../compute/memory";
import type { LstmContent } from "../kit/manifest";
import { once } from "../kit/runs";
import { readTensors } from "../kit/tensors";
import { logitsOf, probabilities, runHead, type HeadWeights } from "./head";
import { cellOf } from "../train/cells";
import { type CellTrace, join, type Trace, type TraceOptions } from "./trace";

type Weights = HeadWeights & { cells: Numbers[] };

interface Run {
  weights: Weights;
  x: Float64Array; // [S, patchSize · I]
  steps: number;
  seed: bigint | null;
}

export class Lstm {
  readonly directions: number;
  readonly hasOutputs: boolean; // Whether there is an output after each step
  readonly cell: Cell;
  readonly #weights: Weights[]; // Of each stage
  readonly #mask: Matrix;

  /** `stages` has the weights of each stage by name; the kernel makes the dropout masks. */
  constructor(
    readonly content: LstmContent,
    readonly stages: Record<string, Float32Array>[],
    readonly memory: Memory,
  ) {
    this.directions = content.bidirectional ? 2 : 1;
    const isAtOnce = content.bidirectional && content.target !== "class at every step";
    this.hasOutputs = content.pooling === "last" && content.patchSize === 1 && !isAtOnce;
    this.cell = cellOf(content.cell);
    this.#mask = memory.matrix(content.hiddenSize, 8);
    this.#weights = stages.map((tensors) => this.#gather(tensors));
  }

  /** Returns the input [T, I] of a sequence that a user typed, see `Example`: encoded symbols, or standardized numbers. */
  encode(values: number[]): Float64Array {
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

  /** Computes the network of a stage for x [T, I], at least one step, and the gradients of the loss. */
  trace(stage: number, x: Float64Array, { target = null, seed = null, outputs = true }: TraceOptions = {}): Trace {
    const run = { weights: this.#weights[stage], ...this.#patch(x), seed };
    const { cells, inputs } = this.#forward(run);
    const top = inputs.at(-1)!;
    const head = runHead(this.content, run.weights, top, run.steps, target);
    if (head.loss !== null) this.#backward(run, cells, inputs, head.dTop);
    const { output, attention, loss } = head;
    const after = outputs ? this.#outputs(run, top) : null;
    return { steps: run.steps, input: run.x, cells, outputs: after, output, attention, loss };
  }

  #gather(tensors: Record<string, Float32Array>): Weights {
    const gather = (name: string) => Float64Array.from(tensors[name]);
    const layer = this.content.cell === "lstm" ? "lstm.layers" : "rnn.layers";
    const names = [...this.cell.matrices.keys(), ...this.cell.vectors.keys()];
    const cells = Array.from({ length: this.content.numLayers * this.directions }, (_, k) =>
      Object.fromEntries(names.map((name) => [name, gather(`${layer}.${k}.${name}`)])),
    );
    const isAttention = this.content.pooling === "attention";
    const attention = isAttention ? { W: gather("W_att"), b: gather("b_att"), u: gather("u_att") } : null;
    return { cells, W_out: gather("W_out"), b_out: gather("b_out"), attention };
  }

  /** Returns the input as patches; the last one is padded with 0. */
  #patch(x: Float64Array) {
    const { inputSize, patchSize } = this.content;
    if (x.length === 0 || x.length % inputSize) throw new Error(`x must be [T, ${inputSize}], got ${x.length} numbers`);
    const steps = Math.ceil(x.length / inputSize / patchSize);
    const padded = new Float64Array(steps * patchSize * inputSize);
    padded.set(x);
    return { x: padded, steps };
  }

  /** Computes all layers. Returns the cells, and the input of each layer, with the last output. */
  #forward(run: Run) {
    const cells: CellTrace[] = [];
    const inputs = [run.x];
    run.weights.cells.forEach((_, k) => {
      cells.push(this.#forwardCell(run, inputs.at(-1)!, k));
      if (k % this.directions === this.directions - 1) inputs.push(join(cells.slice(-this.directions), run.steps));
    });
    return { cells, inputs };
  }

  #forwardCell({ weights, steps, seed }: Run, x: Float64Array, index: number) {
    const { hiddenSize, hiddenDropout, hiddenDropoutKind } = this.content;
    const reverse = index % this.directions === 1;
    const chosen = seed === null ? null : seed + BigInt(index); // modulo 2⁶⁴
    const mask = hiddenMasks(this.memory, this.#mask, chosen, steps, hiddenDropout, hiddenDropoutKind);
    const run = { reverse, mask, zoneout: hiddenDropoutKind === "zoneout" };
    const nodes = traceCell(this.cell, weights.cells[index], x, steps, hiddenSize, run);
    const layer = Math.floor(index / this.directions);
    const direction: CellTrace["direction"] = reverse ? "backward" : "forward";
    return { layer, direction, nodes, values: quantitiesOf(this.cell, nodes), mask, norms: {} };
  }

  /** Fills in the gradients of the cells from dTop [S, D·H], that for the output of the top layer. */
  #backward({ weights }: Run, cells: CellTrace[], inputs: Float64Array[], dTop: Float64Array) {
    let dOutput = dTop;
    for (let layer = this.content.numLayers - 1; layer >= 0; layer--) {
      const dInput = new Float64Array(layer ? inputs[layer].length : 0);
      for (let d = 0; d < this.directions; d++) {
        const k = layer * this.directions + d;
        const { nodes, mask } = cells[k];
        const run = { reverse: d === 1, mask, zoneout: this.content.hiddenDropoutKind === "zoneout" };
        const sequence = { x: inputs[layer], nodes, H: this.content.hiddenSize, run };
        const { norms, dx } = cellGradients(this.cell, weights.cells[k], sequence, dOutput, layer > 0);
        cells[k].norms = norms;
        for (let n = 0; n < dx.length; n++) dInput[n] += dx[n];
      }
      dOutput = dInput;
    }
  }

  /** Returns the output after each step, see `Trace`, from the output of the top layer. */
  #outputs({ weights, steps }: Run, top: Float64Array): Float64Array | null {
    if (!this.hasOutputs) return null;
    const C = this.content.outputSize;
    const outputs = new Float64Array(steps * C);
    for (let t = 0; t < steps; t++)
      outputs.set(probabilities(this.content, logitsOf(weights, top, (t * top.length) / steps)), t * C);
    return outputs;
  }
}

export const loadLstm = once(async (content: LstmContent) => {
  const stages = await Promise.all(content.stages.map(({ weights }) => readTensors(weights)));
  return new Lstm(content, stages, await Memory.create());
});
