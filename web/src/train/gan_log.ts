/** The lines of metrics.jsonl of a GAN, as Python writes them. */
import { sigmoid } from "../kit/math";
import type { StepResult } from "./gan";

/** Means over the updates since the last line. */
export interface GanLine {
  step: number;
  epoch: number;
  generatorLoss: number;
  discriminatorLoss: number;
  probabilityReal: number;
  probabilityFake: number;
}

const meanOf = (numbers: ArrayLike<number>) => Array.from(numbers).reduce((sum, x) => sum + x, 0) / numbers.length;

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
    const found = [generatorLoss, discriminatorLoss, meanOf(realLogits.map(sigmoid)), meanOf(fakeLogits.map(sigmoid))];
    history.set(found, (4 * (step - 1)) % history.length);
    if ((4 * step) % history.length) return;
    const [g, d, real, fake] = found.map((_, k) => meanOf(history.filter((__, n) => n % 4 === k)));
    lines.push({ step, epoch, generatorLoss: g, discriminatorLoss: d, probabilityReal: real, probabilityFake: fake });
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
