/** The lines of one run: at first one, or those of an experiment; at each change the last one parts in two. */
import { sum } from "d3-array";
import { isPhone } from "../../kit/player";
import type { Data, Kind, Run, Settings } from "../../train/protocol";
import type { Values } from "../../train/settings";
import { Branch, type Line, type Moment } from "./branch";
import { describe, differences } from "./settings";

/** Lines beside each other at most; moments to rewind to at most, and parts of the run between them. */
const [MAX_LINES, MAX_MOMENTS, PARTS] = [3, 24, 10];
/** Of what the moments have saved: of a GAN two of them and its start, which takes none. */
const MAX_BYTES = 60 << 20;

const bytesOf = (value: unknown): number =>
  ArrayBuffer.isView(value)
    ? value.byteLength
    : value && typeof value === "object"
      ? sum(Object.values(value).map(bytesOf))
      : 0;

export class Lines {
  branches: Branch[] = []; // The one that goes on with the settings last
  moments: Moment[] = [];
  savedStep = 0;
  queue: Promise<unknown> = Promise.resolve(); // The last thing that was asked of them

  constructor(
    readonly kind: Kind,
    readonly own: Data, // What it learns from, where a reader brought that
  ) {}

  get status() {
    return this.branches.at(-1)?.seen?.status;
  }

  get step() {
    return Math.max(0, ...this.branches.map(({ seen }) => seen!.status.step));
  }

  /** What the page shows of each, named by the settings in which they differ. */
  get shown(): Line[] {
    const found = differences(this.branches.map(({ seen }) => seen!.status.settings));
    return this.branches.map(({ name, seen }, k) => ({ name: name || describe(this.kind, found[k]), seen: seen! }));
  }

  /** Whether one has not yet come to its end, or to the end of an epoch. */
  isUnfinished = (epoch = Infinity) =>
    this.branches.some(({ seen }) => !seen!.status.isFinished && seen!.status.epoch < epoch);

  async begin(data: Data, lines: [string, Settings][]) {
    const branches = lines.map(([name]) => new Branch(name, data));
    await Promise.all(branches.map((branch, k) => branch.start(this.kind, lines[k][1]))).catch((error) => {
      branches.forEach((branch) => branch.stop());
      throw error;
    });
    this.branches = branches;
    this.moments = [{ name: "the start", settings: lines.at(-1)![1], saved: null, points: [] }];
  }

  /** Lets each make some updates, one after the other on a phone. */
  async advance(run: Run) {
    const before = this.status!.epoch;
    if (isPhone()) for (const branch of this.branches) await branch.run(run);
    else await Promise.all(this.branches.map((branch) => branch.run(run)));
    const { epoch, settings } = this.status!;
    const part = Math.max(1, Math.round(settings.epochs / PARTS));
    if (Math.floor(epoch / part) > Math.floor(before / part)) await this.keep(`epoch ${epoch}`);
  }

  /**
   * Goes on with other settings beside those before, unless nothing has gone on since the last change. Returns the name of the
   * line for which there is no more room, if any.
   */
  async change(changes: Values): Promise<string | undefined> {
    const last = this.branches.at(-1)!;
    if (this.branches.length > 1 && last.from === this.status!.step) return void (await last.change(changes));
    const fork = new Branch("", last.data);
    const saved = await this.keep(`before ${describe(this.kind, changes)}`);
    await fork.fork(saved, last.seen!.points, changes).catch((error) => {
      fork.stop();
      throw error;
    });
    this.branches.push(fork);
    if (this.branches.length <= MAX_LINES) return undefined;
    const [{ name }] = this.shown;
    this.branches.shift()!.stop();
    return name;
  }

  async rewind({ settings, saved, points }: Moment) {
    const branch = new Branch("", this.branches.at(-1)!.data);
    await (saved ? branch.fork(saved, points) : branch.start(this.kind, settings));
    this.stop();
    this.branches = [branch];
  }

  async keep(name: string) {
    const last = this.branches.at(-1)!;
    const saved = await last.save();
    const moment = { name, settings: saved.settings, saved, points: last.seen!.points };
    this.moments = [...this.moments, moment].slice(-MAX_MOMENTS);
    while (bytesOf(this.moments.map((one) => one.saved)) > MAX_BYTES) {
      const oldest = this.moments.find((one) => one.saved)!;
      if (oldest === moment) break;
      this.moments = this.moments.filter((one) => one !== oldest);
    }
    return saved;
  }

  stop() {
    for (const branch of this.branches) branch.stop();
  }
}
