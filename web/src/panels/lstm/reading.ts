/** What the panel reads: a sequence with its trace, or two. */
import type { Target, Trace } from "../../lstm/trace";
import type { LstmState } from "./state";

export interface Reading {
  name: "" | "first" | "second"; // Empty if there is only one
  values: number[];
  target: Target;
  trace: Trace;
}

export const wantedOf = ({ stage, seed, target, first, second }: LstmState) => ({
  stage: stage.value - 1,
  seed: seed.value,
  target: target.value,
  first: first.value,
  second: second.value,
});

export type Wanted = ReturnType<typeof wantedOf>;

export type Traced = { wanted: Wanted; first: Reading; second: Reading | null };
