/** What a run of the LSTM records, and what of it is saved. */
import type { SavedWeights } from "./memory";
import type { LstmSettings } from "./settings";

/** Metrics of an epoch, as a line of metrics.jsonl. */
export interface LstmEpoch {
  step: number;
  epoch: number;
  sequences: number;
  length: number;
  validationSequences: number;
  trainLoss: number;
  trainAccuracy: number;
  validationLoss: number;
  validationAccuracy: number;
}

/** What an update gives: the loss of its batch before it, the number of correct sequences, the norm of the gradient. */
export interface LstmUpdate {
  loss: number;
  correct: number;
  count: number;
  norm: number;
}

/** Where a run stands. */
export interface LstmSaved {
  kind: "lstm";
  settings: LstmSettings;
  step: number;
  epoch: number;
  /** Lengths of the curriculum that have passed. */
  stage: number;
  /** Sequences of the epoch that it has seen. */
  position: number;
  sequences: number;
  /** Sums over the epoch so far: loss, correct, count. */
  sums: [number, number, number];
  powers: [number, number];
  dropout: { state: Int32Array; next: number };
  weights: SavedWeights;
  epochs: LstmEpoch[];
  /** Training sequences. */
  trainCount: number;
  /** Time that it has trained. */
  seconds: number;
}
