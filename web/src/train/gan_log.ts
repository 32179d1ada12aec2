/** The lines of metrics.jsonl of a GAN, as Python writes them. */
import { mean } from "d3-array";
import { sigmoid } from "../kit/math";
import type { StepResult } from "./discriminator";

/** Means over the updates since the last line. */
export interface GanLine {
  step: number;
  epoch: number;
  generatorLoss: number;
  discriminatorLoss: number;
  probabilityReal: number;
  probabilityFake: number;
}

/** The line of some updates: the means of their losses and probabilities [N, 4]. */
function lineOf(history: Float32Array, step: number, epoch: number): GanLine {
  const [generatorLoss, discriminatorLoss, probabilityReal, probabilityFake] = [0, 1, 2, 3].map((k) =>
    mean(history.filter((_, n) => n % 4 === k))!,
  );
  return { step, epoch, generatorLoss, discriminatorLoss, probabilityReal, probabilityFake };
}

/** The lines of a run; before the first one is due, that of its updates so far. */
export const linesOf = (
  { lines, history }: Pick<GanLogSaved, "lines" | "history">,
  step: number,
  epoch: number,
): GanLine[] => (lines.length || !step ? lines : [lineOf(history.subarray(0, 4 * step), step, epoch)]);

export class GanLog {
  lines: GanLine[] = [];
  /** Losses and probabilities of the latest updates [R, 4], of which the next line is the mean. */
  readonly history: Float32Array<ArrayBuffer>;

  /** @param every updates of a line at most, Python's `log_every` */
  constructor(
    updatesPerEpoch: number,
    readonly every = 100,
  ) {
    this.history = new Float32Array(4 * Math.min(every, updatesPerEpoch));
  }

  add({ generatorLoss, discriminatorLoss, realLogits, fakeLogits }: StepResult, step: number, epoch: number) {
    const { history, lines } = this;
    const found = [generatorLoss, discriminatorLoss, mean(realLogits.map(sigmoid))!, mean(fakeLogits.map(sigmoid))!];
    history.set(found, (4 * (step - 1)) % history.length);
    if ((4 * step) % history.length) return;
    lines.push(lineOf(history, step, epoch));
  }

  save = () => ({ every: this.every, lines: [...this.lines], history: this.history.slice() });

  static restore({ every, lines, history }: GanLogSaved, updatesPerEpoch: number): GanLog {
    const log = new GanLog(updatesPerEpoch, every);
    log.lines = [...lines];
    log.history.set(history.subarray(0, log.history.length));
    return log;
  }
}

export type GanLogSaved = ReturnType<GanLog["save"]>;
