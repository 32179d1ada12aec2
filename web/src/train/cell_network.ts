/**
 * The classifier of a cell in training: forward, backpropagation through time, and an update, as `reviver.recurrent` and
 * `reviver.train.lstm.training`; h_t after dropout is m_t ⊙ h_t.
 *
 * Shapes: B batch (columns, filled up to a multiple of 8), T steps, I input size, H hidden size, C classes.
 */
import type { Cell } from "../compute/cell_text";
import { EPS } from "../compute/cell_trace";
import { Memory, pad, type Matrix } from "../compute/memory";
import type { Rng } from "../compute/random";
import { compileStage, type Part, type Slot } from "./cell_emit";
import { shapesOf, type CellSizes } from "./cells";
import { planCell, termsOf, type Plan, type Term } from "./cell_plan";
import { crossEntropy } from "./losses";
import { Weights } from "./weights";

/** What each step keeps for the way back: its input [I, B], the dropout mask [H, B], and nodes of the plan [H, B]. */
interface Step {
  x: Matrix;
  m: Matrix;
  nodes: Map<number, Matrix>;
}

export class CellNetwork {
  readonly weights: Weights;
  readonly steps: Step[];
  readonly logits: Matrix; // [C, B]; then their gradients
  readonly #plan: Plan;
  readonly #terms: Term[];
  readonly #forward: Part[];
  readonly #backward: Part[];
  readonly #zero: Matrix;
  readonly #carries = new Map<string, Matrix>(); // Gradients of the states after a step, and of nodes of one step
  readonly #grads = new Map<number, Matrix>();
  readonly #room: Matrix;
  readonly #last: Matrix; // Last hidden state of each sequence, and its gradient, where their lengths differ
  readonly #dLast: Matrix;
  #count: number; // Steps of the longest sequence of a batch, and of each [B], where they differ
  #ends: Uint8Array | null = null;

  constructor(
    readonly memory: Memory,
    readonly cell: Cell,
    readonly sizes: CellSizes,
  ) {
    const { steps, inputSize: I, hiddenSize: H, numClasses: C, batchSize } = sizes;
    const plan = (this.#plan = planCell(cell));
    this.#terms = termsOf(cell, plan);
    this.weights = new Weights(memory, { ...shapesOf(cell, I, H), W_out: [C, H], b_out: [C] });
    const matrix = (rows: number) => memory.matrix(rows, pad(batchSize, 8));
    [this.#zero, this.#last, this.#dLast] = [matrix(H), matrix(H), matrix(H)];
    this.#count = steps;
    this.steps = Array.from({ length: steps }, () => {
      const matrices = new Map([...new Set(plan.kept.values())].map((node) => [node, matrix(H)]));
      const nodes = new Map([...plan.kept].map(([node, as]) => [node, matrices.get(as)!]));
      return { x: matrix(I), m: matrix(H), nodes };
    });
    this.logits = matrix(C);
    this.#room = memory.matrix(pad(batchSize, 8), Math.max(H, I) + 32);
    for (const state of cell.states) this.#carries.set(state, matrix(H));
    for (const { before, store } of plan.backward)
      for (const node of [...before, ...store]) this.#grads.set(node, matrix(H));
    this.#forward = plan.forward.map((stage) =>
      compileStage(memory.kernel, plan.graph, stage, (node) => plan.kept.has(node)),
    );
    this.#backward = plan.backward.map((stage) =>
      compileStage(memory.kernel, plan.graph, stage, (node) => plan.kept.has(node) || this.#grads.has(node)),
    );
  }

  /** New weights: Xavier-uniform, vectors at what the text says; `starts` are those that begin elsewhere. */
  initialize(rng: Rng, starts: Record<string, number> = {}) {
    const { inputSize: I, hiddenSize: H, numClasses: C } = this.sizes;
    const { w } = this.weights;
    for (const [name, onX] of this.cell.matrices) w[name].write(rng.xavier(H, onX ? I : H));
    for (const [name, start] of this.cell.vectors) w[name].write(new Float32Array(H).fill(starts[name] ?? start));
    w.W_out.write(rng.xavier(C, H));
  }

  /** Samples the dropout masks of all steps from a seed; p = 0 or no seed: no dropout. */
  drop(p: number, seed: bigint | null, batch: number) {
    this.steps.slice(0, this.#count).forEach(({ m }, t) => {
      if (seed === null || p === 0) m.values.fill(1);
      else this.memory.mask(m, p, seed, t, pad(batch, 8));
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

  #read(): Matrix {
    if (!this.#ends) return this.#state("h", this.#count - 1);
    this.#last.values.fill(0);
    this.#eachEnd((place, step) => (this.#last.values[place] = this.#state("h", step).values[place]));
    return this.#last;
  }

  /** A state after a step; 0 before the first. */
  #state(name: string, t: number): Matrix {
    return t < 0 ? this.#zero : this.#matrix(this.#plan.outputs.get(name)!, t);
  }

  /** A node at a step. */
  #matrix(node: number, t: number): Matrix {
    const { op, value } = this.#plan.graph.nodes[node];
    if (op === "state") return this.#state(String(value), t - 1);
    if (op === "carry") return this.#carries.get(String(value))!;
    return this.steps[t].nodes.get(node) ?? this.#grads.get(node)!;
  }

  #compute({ slots, run }: Part, t: number, columns: number) {
    if (!run) return;
    const { nodes } = this.#plan.graph;
    const { m } = this.steps[t];
    const addressOf = ({ kind, node }: Slot) =>
      kind === "mask"
        ? m.address
        : kind === "vector"
          ? this.weights.w[nodes[node].value].address
          : this.#matrix(node, t).address;
    run(...slots.map(addressOf), m.rows, columns * 4, m.stride);
  }

  /** Computes the logits of the inputs x of the steps. */
  forward(batch: number) {
    const { memory } = this;
    const { w } = this.weights;
    const { graph, sums } = this.#plan;
    const columns = pad(batch, 8);
    for (let t = 0; t < this.#count; t++)
      for (const part of this.#forward) {
        for (const node of part.before) {
          const y = this.#matrix(node, t);
          const sum = sums.get(node);
          if (!sum) {
            const v = this.#matrix(graph.nodes[node].args[0], t);
            memory.kernel.normalize(v.address, y.address, y.stride, y.rows, columns, EPS);
            continue;
          }
          if (sum.bias === null) y.clear(columns);
          else memory.kernel.broadcast(w[sum.bias].address, y.address, y.stride, y.rows, columns);
          for (const { matrix, operand } of sum.terms) {
            if (t === 0 && this.#isState(operand)) continue; // it is 0
            memory.product(w[matrix], this.#operand(operand, t), y, columns);
          }
        }
        this.#compute(part, t, columns);
      }
    memory.linear(this.#read(), w.W_out, w.b_out, this.logits, columns);
  }

  #operand = (operand: number | null, t: number) => (operand === null ? this.steps[t].x : this.#matrix(operand, t));

  #isState = (operand: number | null) => operand !== null && this.#plan.graph.nodes[operand].op === "state";

  /** Returns the mean loss and the number of correct classes of the logits, which become their gradients. */
  loss = (targets: Uint8Array) => crossEntropy(this.logits, targets);

  /** Computes the gradients of all weights from those of the logits. */
  backward(batch: number) {
    const { memory, weights } = this;
    const { g, w } = weights;
    const columns = pad(batch, 8);
    weights.clearGradients();
    for (const carry of this.#carries.values()) carry.values.fill(0);
    const dh = this.#carries.get("h")!;
    memory.linearGradient(this.logits, this.#read(), g.W_out, g.b_out, this.#room, columns);
    const dLast = this.#ends ? this.#dLast : dh;
    memory.inputGradient(this.logits, w.W_out, dLast, columns);
    for (let t = this.#count - 1; t >= 0; t--) {
      if (this.#ends) this.#eachEnd((place) => (dh.values[place] += dLast.values[place]), t);
      for (const part of this.#backward) {
        for (const node of part.before) this.#wait(node, t, columns);
        this.#compute(part, t, columns);
      }
      this.#addGradients(t, columns);
      if (t > 0) this.#carry(t, columns);
    }
  }

  /** Computes a gradient that waits for others: of the operand of products, or of a normalization. */
  #wait(node: number, t: number, columns: number) {
    const { graph } = this.#plan;
    const { op, args, value } = graph.nodes[node];
    const dy = this.#grads.get(node)!;
    if (op === "transposed") {
      dy.clear(columns);
      this.#addProducts(value as number, dy, columns);
    } else {
      const [grad, y, v] = args.map((arg) => this.#matrix(arg, t).address);
      this.memory.kernel.normalizeBackward(grad, y, v, dy.address, dy.stride, dy.rows, columns, EPS);
    }
  }

  /** dy += Wᵀ dz, of all products of an operand. */
  #addProducts(of: number, dy: Matrix, columns: number) {
    for (const { sum, matrix, operand } of this.#terms)
      if (operand === of) this.memory.addInputGradient(this.#gradient(sum), this.weights.w[matrix], dy, columns);
  }

  #gradient(sum: number): Matrix {
    return this.#matrix(this.#plan.grads.sums.get(sum)!, 0);
  }

  #addGradients(t: number, columns: number) {
    const { memory } = this;
    const { g } = this.weights;
    const { sums, grads } = this.#plan;
    let last: number | null | undefined;
    for (const { sum, matrix, operand } of this.#terms) {
      if (t === 0 && this.#isState(operand)) continue;
      const x = this.#operand(operand, t);
      if (operand !== last) memory.transpose(x, this.#room, columns);
      last = operand;
      memory.productRoom(this.#gradient(sum), x, g[matrix], this.#room, columns);
    }
    for (const [sum, { bias }] of sums) if (bias !== null) memory.rowSums(this.#gradient(sum), g[bias], columns);
    for (const [name, node] of grads.vectors) memory.rowSums(this.#matrix(node, t), g[name], columns);
  }

  /** Makes the gradients of the states before a step those after the one before it. */
  #carry(t: number, columns: number) {
    const { graph, grads } = this.#plan;
    const found = [...this.#carries].map(([name, carry]) => {
      const node = grads.states.get(name);
      return { name, carry, values: node === undefined ? null : this.#matrix(node, t).values.slice() };
    });
    for (const { name, carry, values } of found) {
      if (values) carry.values.set(values);
      else carry.values.fill(0);
      const state = graph.nodes.findIndex(({ op, value }) => op === "state" && value === name);
      if (state >= 0) this.#addProducts(state, carry, columns);
    }
  }
}
