/**
 * What the page and the worker that trains say to each other. The page calls a method, the worker answers once, so that pausing
 * is not to call `run` again. One worker trains one network; a fork is a second one, started from what the first one saved.
 *
 *     const trainer = new Trainer();                                    // see trainer.ts
 *     await trainer.call("start", { kind: "gan", settings: GAN_ORIGINAL, images: await reviver.images() });
 *     const { status, gan } = await trainer.call("run", { updates: 1, grid: true });
 *     const saved = await trainer.call("save");                         // to rewind to, to fork, or to keep
 */
import type { DiscriminatorStart } from "./discriminator";
import type { GanLine } from "./gan_log";
import type { GanSaved, Images } from "./gan_run";
import type { LstmEpoch, LstmSaved, LstmUpdate } from "./lstm_run";
import type { LstmTrace } from "./lstm_trace";
import type { Python } from "./run_files";
import type { SequenceData } from "./sequences";
import type { GanSettings, LstmSettings } from "./settings";

export type { GanSaved, GanSettings, Images, LstmEpoch, LstmSaved, LstmSettings, LstmTrace, LstmUpdate, SequenceData };

export type Kind = "lstm" | "gan";
export type Settings = LstmSettings | GanSettings;
export type Saved = LstmSaved | GanSaved;

/** What a run learns from: a GAN from images, an LSTM from own sequences or, without, from palindromes. */
export interface Data {
  images: Images | null;
  sequences: SequenceData | null;
}

/** A new run, or one that goes on from `saved` with these settings. */
export interface Start extends Partial<Data> {
  kind: Kind;
  settings: Settings;
  saved?: Saved;
}

export interface Status {
  kind: Kind;
  settings: Settings;
  step: number;
  epoch: number;
  updatesPerEpoch: number;
  isFinished: boolean;
}

export interface Run {
  /** At most; a run ends at its last epoch. 0 only asks for the state. */
  updates: number;
  trace?: number[]; // Digits of which to trace the LSTM, see `LstmTrace`
  grid?: boolean;
  classes?: number;
}

export interface Progress {
  status: Status;
  updates: number; // Updates that were made, and the time that they took
  milliseconds: number;
  lstm?: {
    updates: LstmUpdate[];
    epochs: LstmEpoch[]; // Epochs that ended
    trace?: LstmTrace;
  };
  gan?: {
    updates: { generatorLoss: number; discriminatorLoss: number }[]; // Losses of the batch of each update before it
    realLogits: Float32Array; // Logits of D for the real and the generated images of the last update; empty without one
    fakeLogits: Float32Array;
    grid?: Float32Array; // Images of 25 latents, always the same, [25, P] from -1 to 1
    lines: GanLine[]; // Of the metrics, that came
    spread?: number; // Of the images of the grid, see diagnosis.ts
    classes?: number[]; // Classes of images that the last update has generated, where a classifier knows them
  };
}

/** A run that was read from a zip: where it stands, its curves so far, and what it learns from. */
export interface Opened extends Data {
  status: Status;
  epochs: LstmEpoch[];
  lines: GanLine[];
}

/** The methods: what the page gives, and what the worker answers. */
export interface Methods {
  start: [Start, Status];
  run: [Run, Progress];
  change: [Partial<Settings>, Status]; // Settings to change; those that the weights do not fit are refused
  save: [undefined, Saved];
  pack: [{ name: string; python: Python }, Uint8Array<ArrayBuffer>];
  /** Goes on with the run in a zip, which may have learned from these images or sequences. */
  open: [{ file: Blob; python: Python } & Data, Opened];
  script: [Blob, void]; // The worker's own, for a second one, which it asks the rest; see partner.ts
  partner: [DiscriminatorStart, void];
  part: [{ method: string; argument: unknown }, any];
}

export type Method = keyof Methods;

export type Request = { id: number; method: Method; argument: unknown };

/** An error is a sentence for people. */
export type Response = { id: number; result?: unknown; error?: string };
