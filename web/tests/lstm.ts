/** Traces of networks that Python describes, for tests/explorer/test_lstm.py, in the order of the cases. */
import { cpuUsage } from "node:process";
import { hiddenMasks } from "../src/compute/dropout";
import { Memory } from "../src/compute/memory";
import type { LstmContent } from "../src/kit/manifest";
import { Lstm } from "../src/lstm/lstm";
import type { Target } from "../src/lstm/trace";

/** A network and a sequence; or, without `weights`, only masks. */
interface Case {
  content: LstmContent;
  weights?: Record<string, number[]>;
  /** As in `Example`. */
  values: number[];
  target: Target;
  seed: string | null;
  /** Of the masks. */
  steps: number;
  /** Whether only the time matters. */
  isTimed?: boolean;
}

async function trace(example: Case) {
  const memory = await Memory.create();
  const { content, weights, values, target, seed, steps } = example;
  const bits = seed === null ? null : BigInt(seed);
  if (!weights) {
    const { hiddenSize, hiddenDropout, hiddenDropoutKind, numLayers } = content;
    const room = memory.matrix(hiddenSize, 8);
    return Array.from({ length: numLayers }, (_, cell) =>
      hiddenMasks(memory, room, bits === null ? null : bits + BigInt(cell), steps, hiddenDropout, hiddenDropoutKind),
    );
  }
  const entries = Object.entries(weights).map(([name, numbers]) => [name, Float32Array.from(numbers)]);
  const network = new Lstm(content, [Object.fromEntries(entries)], memory);
  const x = network.encode(values);
  const start = cpuUsage(); // other processes do not count
  const found = network.trace(0, x, { target, seed: bits });
  if (example.isTimed) return { milliseconds: cpuUsage(start).user / 1000 };
  return { x, trace: { ...found, cells: found.cells.map((cell) => ({ ...cell, nodes: null })) } };
}

export const run = (cases: Case[]) => Promise.all(cases.map(trace));
