/**
 * Experiments: a question, two runs of one seed that differ in one setting, what to watch, and what Python gave over seeds.
 *
 * experiments.json declares them, also for `python -m benchmarks experiments`, which measures them.
 */
import measured from "../../../../docs/measurements/experiments.json";
import type { Kind } from "../../train/protocol";
import type { Values } from "../../train/settings";
import definitions from "./experiments.json";

export interface Experiment {
  id: string;
  question: string;
  watch: string;
  /** What a reader is asked before the run: in which of both a measure of Python is larger, or smaller. */
  guess: { question: string; measure: string; isLarger: boolean };
  why: string;
  names: string[]; // Of the first and of the second run
  base: Values;
  change: Values; // Settings of the second one
  updates?: number; // Of the GAN, about, in place of epochs
}

/** Each ends by itself within a minute. */
export const EXPERIMENTS = definitions as unknown as Record<Kind, Experiment[]>;

/** The third guess, right if the seeds overlap. */
export const UNDECIDED = "no clear difference";

export const SEEDS = measured.seeds;

export const MEASURED: Record<string, { measures: Record<string, number[][]> }> = measured.results;

/** Returns which run answers the question by all seeds of Python; null if they overlap. */
export function answerOf({ id, guess }: Experiment): number | null {
  const [first, second] = MEASURED[id].measures[guess.measure];
  if (Math.min(...first) > Math.max(...second)) return guess.isLarger ? 0 : 1;
  if (Math.min(...second) > Math.max(...first)) return guess.isLarger ? 1 : 0;
  return null;
}
