/**
 * What the page and the worker that trains say to each other. The page calls a method, the worker answers once, so that pausing
 * is not to call `run` again. One worker trains one network; a fork is a second one, started from what the first one saved.
 *
 *     const trainer = new Trainer();                                   // see trainer.ts
 *     let status = await trainer.call("start", { kind: "lstm", settings: LSTM_ORIGINAL });
 *     const { status, lstm } = await trainer.call("run", { updates: 7, trace: [1, 2, 3, 2] });
 *     lstm.updates; lstm.epochs; lstm.trace;                           // since the last call, and of the weights now
 *     const saved = await trainer.call("save");                        // a moment to rewind to, to fork, or to keep
 *     await trainer.call("restore", saved);
 *     await trainer.call("change", { learningRate: 0.01 });
 */
import type { LstmEpoch, LstmSaved, LstmTrace, LstmUpdate } from "./lstm_run";
import type { LstmSettings } from "./settings";

export type { LstmEpoch, LstmSaved, LstmTrace, LstmUpdate, LstmSettings };

export type Start = { kind: "lstm"; settings: LstmSettings };

export type Saved = LstmSaved;

/** Where a run stands. */
export interface Status {
  kind: "lstm";
  settings: LstmSettings;
  step: number;
  /** Finished epochs. */
  epoch: number;
  updatesPerEpoch: number;
  isFinished: boolean;
}

export interface Run {
  /** At most; a run ends at its last epoch. 0 only asks for the state. */
  updates: number;
  /** Digits of which to trace the LSTM, see `LstmTrace`. */
  trace?: number[];
}

export interface Progress {
  status: Status;
  /** Updates that were made, and the time that they took. */
  updates: number;
  milliseconds: number;
  lstm?: {
    updates: LstmUpdate[];
    /** Epochs that ended. */
    epochs: LstmEpoch[];
    trace?: LstmTrace;
  };
}

/** The methods: what the page gives, and what the worker answers. */
export interface Methods {
  start: [Start, Status];
  run: [Run, Progress];
  /** Settings to change; those that the weights do not fit are refused. */
  change: [Partial<LstmSettings>, Status];
  save: [undefined, Saved];
  restore: [Saved, Status];
}

export type Method = keyof Methods;

export type Request = { id: number; method: Method; argument: unknown };

/** An error is a sentence for people. */
export type Response = { id: number; result?: unknown; error?: string };
