/** One line of training: a worker, and what the page has seen of it. */
import type { LstmEpoch, LstmSaved, LstmTrace, Progress, Status } from "../../train/protocol";
import type { LstmSettings } from "../../train/settings";
import { Trainer } from "../../train/trainer";

/** Points of a curve of single updates at most; then two become one. */
const MAX_POINTS = 240;

/** Means over some updates. */
export interface Point {
  /** In epochs. */
  x: number;
  step: number;
  loss: number;
  accuracy: number;
}

/** What is on the page of a line of training; a new object after each change. */
export interface Seen {
  status: Status;
  points: Point[];
  epochs: LstmEpoch[];
  trace: LstmTrace | null;
}

export class Branch {
  #trainer = new Trainer();
  seen: Seen | null = null;

  /** How the curves name it, where there are two. */
  constructor(public name = "") {}

  async start(settings: LstmSettings) {
    this.seen = {
      status: await this.#trainer.call("start", { kind: "lstm", settings }),
      points: [],
      epochs: [],
      trace: null,
    };
  }

  /** Goes on from a moment of another line, or of this one. */
  async restore(saved: LstmSaved, points: Point[], changes: Partial<LstmSettings> = {}) {
    let status = await this.#trainer.call("restore", saved);
    if (Object.keys(changes).length) status = await this.#trainer.call("change", changes);
    this.seen = { status, points: points.filter(({ step }) => step <= saved.step), epochs: saved.epochs, trace: null };
  }

  /** Makes some updates, and traces the digits. Returns the updates, and the milliseconds that they took. */
  async run(updates: number, digits: number[]): Promise<Progress> {
    const progress = await this.#trainer.call("run", { updates, trace: digits });
    const { status, lstm } = progress;
    const { points, epochs, trace } = this.seen!;
    this.seen = {
      status,
      points: lstm!.updates.length ? thin([...points, pointOf(progress, [...epochs, ...lstm!.epochs])]) : points,
      epochs: [...epochs, ...lstm!.epochs],
      trace: lstm!.trace ?? trace,
    };
    return progress;
  }

  save = () => this.#trainer.call("save");

  stop() {
    this.#trainer.stop();
  }
}

/** The mean of the updates of a progress, where they end. */
function pointOf({ status, lstm }: Progress, epochs: LstmEpoch[]): Point {
  const { step, epoch, updatesPerEpoch } = status;
  const sum = { loss: 0, correct: 0, count: 0 };
  for (const { loss, correct, count } of lstm!.updates) {
    sum.loss += loss * count;
    sum.correct += correct;
    sum.count += count;
  }
  const x = epoch + (step - (epochs.at(-1)?.step ?? 0)) / updatesPerEpoch;
  return { x, step, loss: sum.loss / sum.count, accuracy: sum.correct / sum.count };
}

/** Halves the points once there are too many. */
function thin(points: Point[]): Point[] {
  if (points.length <= MAX_POINTS) return points;
  return Array.from({ length: points.length >> 1 }, (_, k) => {
    const [a, b] = points.slice(2 * k, 2 * k + 2);
    return { ...b, loss: (a.loss + b.loss) / 2, accuracy: (a.accuracy + b.accuracy) / 2 };
  });
}
