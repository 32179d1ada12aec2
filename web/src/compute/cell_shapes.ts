/** What a cell learns. */
import type { Cell } from "./cell_text";

export interface CellSizes {
  steps: number;
  inputSize: number;
  hiddenSize: number;
  numClasses: number;
  /** Largest B. */
  batchSize: number;
}

/** Shapes of the weights in their order, as torch has them. */
export const shapesOf = ({ matrices, vectors }: Cell, inputSize: number, H: number): Record<string, number[]> => ({
  ...Object.fromEntries([...matrices].map(([name, onX]) => [name, [H, onX ? inputSize : H]])),
  ...Object.fromEntries([...vectors.keys()].map((name) => [name, [H]])),
});
