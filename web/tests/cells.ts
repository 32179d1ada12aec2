/** What the page makes of texts of cells, for tests/explorer/test_train_cells.py, in Node.js. */
import { CellError } from "../src/compute/cell_tokens";
import { parseCell, type Cell } from "../src/compute/cell_text";
import { quantitiesOf, traceCell } from "../src/compute/cell_trace";
import { CellNetwork } from "../src/train/cell_network";
import { Memory } from "../src/compute/memory";

interface Request {
  text: string;
  /** Weights by name, inputs of each step, and the gradient of the last output. */
  weights?: Record<string, number[]>;
  x?: number[][];
  gradient?: number[];
}

async function compute(cell: Cell, { weights = {}, x = [], gradient = [] }: Request) {
  const [H, I, T] = [gradient.length, x[0].length, x.length];
  const sizes = { steps: T, inputSize: I, hiddenSize: H, numClasses: H, batchSize: 1 };
  const network = new CellNetwork(await Memory.create(), cell, sizes);
  const { w, g } = network.weights;
  for (const [name, values] of Object.entries(weights)) w[name].write(Float32Array.from(values));
  for (let u = 0; u < H; u++) w.W_out.values[u * w.W_out.width + u] = 1;
  network.steps.forEach(({ x: into }, t) => x[t].forEach((value, k) => (into.values[k * into.width] = value)));
  network.resize(T, null);
  network.drop(0, null, 1);
  network.forward(1);
  const output = gradient.map((_, u) => network.logits.values[u * network.logits.width]);
  network.logits.values.fill(0);
  gradient.forEach((value, u) => (network.logits.values[u * network.logits.width] = value));
  network.backward(1);
  const doubles = Object.fromEntries(
    Object.entries(weights).map(([name, values]) => [name, Float64Array.from(values)]),
  );
  return {
    output,
    gradients: Object.fromEntries(Object.keys(weights).map((name) => [name, g[name].read()])),
    traced: quantitiesOf(cell, traceCell(cell, doubles, Float64Array.from(x.flat()), T, H)).h,
  };
}

export const run = (requests: Request[]) =>
  Promise.all(
    requests.map(async (request) => {
      try {
        const cell = parseCell(request.text);
        const about = {
          states: cell.states,
          matrices: [...cell.matrices.keys()],
          vectors: Object.fromEntries(cell.vectors),
        };
        return { ...about, ...(request.x && (await compute(cell, request))) };
      } catch (error) {
        if (!(error instanceof CellError)) throw error;
        return { error: error.message, line: error.line, column: error.column };
      }
    }),
  );
