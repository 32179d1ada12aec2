/** The code that the page emits of networks that Python describes, for tests/explorer/test_emit.py; of the module, what it computes. */
import type { LstmContent } from "../src/kit/manifest";
import { emit } from "../src/lstm/emit";

interface Request {
  content: LstmContent;
  weights: Record<string, number[]>;
  x: number[][]; // [T, I]
}

async function compute({ content, weights, x }: Request) {
  const tensors = Object.fromEntries(
    Object.entries(weights).map(([name, values]) => [name, Float32Array.from(values)]),
  );
  const module = emit(content, tensors, "JavaScript");
  const { init, step } = await import(`data:text/javascript,${encodeURIComponent(module)}`);
  const state = init();
  return { C: emit(content, tensors, "C"), logits: x.map((values) => step(state, values)) };
}

export const run = (requests: Request[]) => Promise.all(requests.map(compute));
