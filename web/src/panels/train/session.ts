/** A training session: one line of training, or two that part at a change, and what a reader does with them. */
import { signal } from "@preact/signals";
import { announce } from "../../kit/announce";
import { clamp, percent } from "../../kit/format";
import { prefersStills } from "../../kit/player";
import type { LstmSaved } from "../../train/protocol";
import type { LstmSettings } from "../../train/settings";
import { Branch, type Point, type Seen } from "./branch";
import { changedIn, describe, START_ONLY } from "./settings";

/** Milliseconds of training between two pictures, also for whoever prefers less motion, and between two announcements. */
const [SLICE, SLOW_SLICE, SILENCE] = [80, 1000, 10_000];
/** Moments to rewind to: at most, and the part of the run between two. */
const [MAX_MOMENTS, PARTS] = [24, 10];

export interface Moment {
  name: string;
  saved: LstmSaved;
  points: Point[];
}

/** Updates a second; 0 for as many as there is time for. */
export type Pace = 0 | 1 | 10;

export class Session {
  /** The lines of training, the one that goes on with the settings last. */
  lines = signal<{ name: string; seen: Seen }[]>([]);
  isRunning = signal(false);
  isBusy = signal(false);
  problem = signal("");
  moments = signal<Moment[]>([]);
  /** Updates a second of the last line, lately. */
  speed = signal(0);
  pace = signal<Pace>(0);
  digits: number[] = [];
  #branches: Branch[] = [];
  #last: Promise<unknown> = Promise.resolve();
  #told = -Infinity;

  /** Goes on, or begins with settings. */
  async start(settings: LstmSettings) {
    if (this.isRunning.value) return;
    this.isRunning.value = true;
    this.problem.value = "";
    await this.#do(() => this.#begin([["", settings]]));
    let updates = 1;
    let finished = this.#isFinished();
    while (this.isRunning.value && !finished) {
      const pace = this.pace.value;
      const took = await this.#do(() => this.#advance(pace ? 1 : updates));
      if (took === undefined) break;
      const slice = prefersStills() ? SLOW_SLICE : SLICE;
      updates = clamp(Math.round((updates * slice) / Math.max(took, 1)), 1, 4 * updates);
      finished = this.#isFinished();
      if (pace) await new Promise((resolve) => setTimeout(resolve, Math.max(0, 1000 / pace - took)));
      if (performance.now() - this.#told >= SILENCE) this.#tell(finished ? "Finished" : "");
    }
    this.isRunning.value = false;
    if (finished) this.#tell("Finished");
  }

  pause() {
    this.isRunning.value = false;
  }

  /** Makes some updates and stops; null stands for the rest of an epoch. */
  async step(settings: LstmSettings, updates: number | null) {
    this.pause();
    await this.#do(async () => {
      await this.#begin([["", settings]]);
      const { step, updatesPerEpoch } = this.#current!.status;
      const from = this.#current!.epochs.at(-1)?.step ?? 0;
      await this.#advance(updates ?? Math.max(1, updatesPerEpoch - (step - from)));
      this.#tell("");
    });
  }

  /** Forgets everything. */
  reset() {
    this.pause();
    for (const branch of this.#branches) branch.stop();
    this.#branches = [];
    [this.moments.value, this.problem.value, this.speed.value] = [[], "", 0];
    this.#show();
  }

  /** Trains two settings beside each other from their start. */
  async compare(first: [string, LstmSettings], second: [string, LstmSettings]) {
    this.reset();
    await this.#do(() => this.#begin([first, second]));
    await this.start(second[1]);
  }

  /** Goes on with other settings, beside those before. A setting of the start ends the run. */
  async change(settings: LstmSettings) {
    const current = this.#current;
    if (!current) return;
    const changed = changedIn(current.status.settings, settings);
    if (!changed.length) return;
    if (current.status.step === 0 || changed.some((name) => START_ONLY.includes(name))) return this.reset();
    await this.#do(async () => {
      const from = this.#branches.at(-1)!;
      const saved = await from.save();
      const [points, name] = [
        from.seen!.points,
        describe(Object.fromEntries(changed.map((key) => [key, settings[key]]))),
      ];
      const fork = new Branch(name);
      try {
        await fork.restore(saved, points, Object.fromEntries(changed.map((key) => [key, settings[key]])));
      } catch (error) {
        fork.stop();
        throw error;
      }
      this.#keep(`before ${name}`, saved, points);
      for (const branch of this.#branches.slice(0, -1)) branch.stop();
      from.name = "unchanged";
      this.#branches = [from, fork];
      announce(`Goes on with ${name}, beside the unchanged run.`);
    });
  }

  /** Goes back to a moment; what came after it is forgotten. */
  async rewind({ saved, points, name }: Moment) {
    this.pause();
    await this.#do(async () => {
      for (const branch of this.#branches.splice(0)) branch.stop();
      const branch = new Branch();
      this.#branches = [branch];
      await branch.restore(saved, points);
      await branch.run(0, this.digits);
      this.problem.value = "";
      announce(`Back at ${name}.`);
    });
  }

  /** Traces other digits, also while nothing trains. */
  async read(digits: number[]) {
    this.digits = digits;
    if (this.#branches.length && !this.isRunning.value) await this.#do(() => this.#advance(0));
  }

  get #current() {
    return this.#branches.at(-1)?.seen ?? null;
  }

  #isFinished = () => this.#branches.every(({ seen }) => seen!.status.isFinished);

  /** Does one thing after the other, and shows what has come of it; undefined after an error, which becomes a sentence. */
  #do<T>(what: () => Promise<T>): Promise<T | undefined> {
    const done = this.#last.then(async () => {
      this.isBusy.value = true;
      try {
        return await what();
      } catch (error) {
        this.pause();
        this.problem.value = `Training stopped: ${(error as Error).message}.`;
        return undefined;
      } finally {
        this.isBusy.value = false;
        this.#show();
      }
    });
    this.#last = done;
    return done;
  }

  #show() {
    this.lines.value = this.#branches.flatMap(({ name, seen }) => (seen ? [{ name, seen }] : []));
  }

  async #begin(lines: [string, LstmSettings][]) {
    if (this.#branches.length) return;
    const branches = lines.map(([name]) => new Branch(name));
    try {
      await Promise.all(branches.map((branch, k) => branch.start(lines[k][1])));
    } catch (error) {
      for (const branch of branches) branch.stop();
      throw error;
    }
    this.#branches = branches;
    this.#keep("the start", await branches.at(-1)!.save(), []);
  }

  /** Lets each line make some updates, one after the other on a phone; returns the milliseconds of the slowest. */
  async #advance(updates: number): Promise<number> {
    const before = this.#current!.status.epoch;
    const began = performance.now();
    const run = (branch: Branch) => branch.run(updates, this.digits);
    const all = isPhone() ? [] : this.#branches.map(run);
    if (isPhone()) for (const branch of this.#branches) all.push(Promise.resolve(await run(branch)));
    const progress = await Promise.all(all);
    const took = performance.now() - began;
    const { status, points } = this.#current!;
    if (updates) this.speed.value = (1000 * progress.at(-1)!.updates) / took;
    const part = Math.max(1, Math.round(status.settings.epochs / PARTS));
    if (Math.floor(status.epoch / part) > Math.floor(before / part))
      this.#keep(`epoch ${status.epoch}`, await this.#branches.at(-1)!.save(), points);
    return took;
  }

  #keep(name: string, saved: LstmSaved, points: Point[]) {
    this.moments.value = [...this.moments.value, { name, saved, points }].slice(-MAX_MOMENTS);
  }

  /** Says where the run stands. */
  #tell(news: string) {
    this.#told = performance.now();
    const { status, epochs } = this.#current!;
    const last = epochs.at(-1);
    const accuracy = last && `accuracy ${percent(last.validationAccuracy)}`;
    const where = `epoch ${status.epoch} of ${status.settings.epochs}, update ${status.step}`;
    announce([news, where, accuracy].filter(Boolean).join(", "));
  }
}

const isPhone = () => matchMedia("(max-width: 40em)").matches;
