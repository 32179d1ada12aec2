/** The built-in cells, whose texts are Python's, and the cell that a setting names. */
import coupled from "../../../src/reviver/recurrent/coupled.cell";
import gruCudnn from "../../../src/reviver/recurrent/gru-cudnn.cell";
import gru from "../../../src/reviver/recurrent/gru.cell";
import layerNorm from "../../../src/reviver/recurrent/layer-norm.cell";
import lstm1997 from "../../../src/reviver/recurrent/lstm-1997.cell";
import lstm from "../../../src/reviver/recurrent/lstm.cell";
import minimalGated from "../../../src/reviver/recurrent/minimal-gated.cell";
import peephole from "../../../src/reviver/recurrent/peephole.cell";
import rnn from "../../../src/reviver/recurrent/rnn.cell";
import slstm from "../../../src/reviver/recurrent/slstm.cell";
import { CellError, parseCell, type Cell } from "../compute/cell_text";
import type { Floats, SavedWeights, Shapes } from "./weights";

export const BUILT_IN: Record<string, string> = {
  ...{ lstm, gru, rnn, peephole, coupled, "lstm-1997": lstm1997, "minimal-gated": minimalGated },
  ...{ "gru-cudnn": gruCudnn, "layer-norm": layerNorm, slstm },
};

/** The text of a cell, which is a name or a text. */
export const textOf = (cell: string) => (Object.hasOwn(BUILT_IN, cell) ? BUILT_IN[cell] : cell);

const parsed = new Map<string, Cell>();

/** Throws a `CellError` unless the text is right. */
export function cellOf(cell: string): Cell {
  const found = parsed.get(cell) ?? parseCell(textOf(cell));
  parsed.set(cell, found);
  return found;
}

/** What is wrong with a cell; null if it is right. */
export function problemOf(cell: string): CellError | null {
  try {
    cellOf(cell);
    return null;
  } catch (error) {
    if (error instanceof CellError) return error;
    throw error;
  }
}

export interface CellSizes {
  steps: number;
  inputSize: number;
  hiddenSize: number;
  numClasses: number;
  batchSize: number; // Largest B
}

/** Shapes of the weights of a cell in their order, as torch has them. */
export const shapesOf = ({ matrices, vectors }: Cell, inputSize: number, H: number): Shapes => ({
  ...Object.fromEntries([...matrices].map(([name, onX]) => [name, [H, onX ? inputSize : H]])),
  ...Object.fromEntries([...vectors.keys()].map((name) => [name, [H]])),
});

/** Python's order of the gates of an LSTM, which it keeps one below the other. */
const GATES = ["i", "f", "c", "o"];
const JOINED = ["W", "U", "b"];

function joinOne(values: Floats): Floats {
  const rest = Object.entries(values).filter(([name]) => name.endsWith("_out"));
  const joined = JOINED.map((name) => [
    name,
    Float32Array.from(GATES.flatMap((gate) => [...(values[`${name}_${gate}`] ?? [])])),
  ]);
  return Object.fromEntries([...joined, ...rest]);
}

function splitOne(values: Floats): Floats {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, all]) =>
      JOINED.includes(name)
        ? GATES.map((gate, k) => [`${name}_${gate}`, all.slice((k * all.length) / 4, ((k + 1) * all.length) / 4)])
        : [[name, all]],
    ),
  );
}

const each =
  (change: (values: Floats) => Floats) =>
  ({ w, v, m, powers }: SavedWeights): SavedWeights => ({
    ...{ w: change(w), v: change(v), m: change(m), powers },
  });

/** The weights of the LSTM with the matrices of all gates in one, as Python's layer has them; and the way back. */
export const joinGates = each(joinOne);
export const splitGates = each(splitOne);
