/** A training session: one line of training, or two that part at a change, and what a reader does with them. */
import { batch, signal } from "@preact/signals";
import { announce } from "../../kit/announce";
import { clamp } from "../../kit/format";
import type { Run as ShownRun } from "../../kit/runs";
import { prefersStills } from "../../kit/player";
import type { Images, Kind, Saved, SequenceData, Settings, Status } from "../../train/protocol";
import type { Python } from "../../train/run_files";
import { Branch, runAll, type Line, type Moment, type Point } from "./branch";
import { changesIn, describe, NETWORKS } from "./settings";

/** Milliseconds of training between two pictures, also for whoever prefers less motion, and between two announcements. */
const [SLICE, SLOW_SLICE, SILENCE] = [80, 1000, 10_000];
/** Moments to rewind to: at most, and parts of the run between them. */
const [MAX_MOMENTS, PARTS] = [24, 10];

/** Updates a second; 0 for as many as there is time for. */
export type Pace = 0 | 1 | 10;

export class Session {
  /** The lines of training, the one that goes on with the settings last. */
  lines = signal<Line[]>([]);
  isRunning = signal(false);
  isBusy = signal(false);
  problem = signal("");
  fileProblem = signal(""); // What is wrong with a file that should be opened
  moments = signal<Moment[]>([]);
  speed = signal(0); // Updates a second of the last line, lately
  pace = signal<Pace>(0);
  digits: number[] = []; // What the LSTM reads
  shown = signal<ShownRun | null>(null); // In the other panels
  /** What a reader brought to learn from: in place of palindromes, and of the images of the page. */
  sequences = signal<SequenceData | null>(null);
  ownImages = signal<Images | null>(null);
  /** Loads what the GAN learns from. */
  images: () => Promise<Images | null> = async () => null;
  python: Python | null = null; // What run folders take from it
  #branches: Branch[] = [];
  #last: Promise<unknown> = Promise.resolve();
  /** Counts the resets: what was asked for before one is void. */
  #turn = 0;
  #told = -Infinity;

  /** Goes on, or begins with a network and its settings; for some epochs at most. */
  async start(kind: Kind, settings: Settings, epochs = Infinity) {
    if (this.isRunning.value) return;
    this.isRunning.value = true;
    this.problem.value = "";
    const turn = this.#turn;
    await this.#do(() => this.#begin(kind, [["", settings]]));
    const goal = (this.#branches.at(-1)?.seen?.status.epoch ?? 0) + epochs;
    for (let updates = 1; turn === this.#turn && this.isRunning.value && this.#isUnfinished(goal);) {
      const pace = this.pace.value;
      const { status, epochStart } = this.#branches.at(-1)!.seen!;
      const left = Math.max(1, status.updatesPerEpoch - (status.step - epochStart));
      const took = await this.#do(() =>
        this.#advance(Math.min(pace ? 1 : updates, epochs < Infinity ? left : Infinity)),
      );
      if (took === undefined) return;
      const slice = prefersStills() ? SLOW_SLICE : SLICE;
      updates = clamp(Math.round((updates * slice) / Math.max(took, 1)), 1, 4 * updates);
      if (pace) await new Promise((resolve) => setTimeout(resolve, Math.max(0, 1000 / pace - took)));
      if (performance.now() - this.#told >= SILENCE) this.#tell("");
    }
    if (turn !== this.#turn) return;
    this.pause();
    if (this.#branches.length) this.#tell(this.#isUnfinished() ? "Paused" : "Finished");
  }

  pause() {
    this.isRunning.value = false;
  }

  /** Makes one update. */
  async step(kind: Kind, settings: Settings) {
    await this.#do(async () => {
      await this.#begin(kind, [["", settings]]);
      await this.#advance(1);
      this.#tell("");
    });
  }

  /** Forgets everything. */
  reset() {
    this.#turn++;
    this.#last = Promise.resolve(); // a worker that ends answers no more
    for (const branch of this.#branches.splice(0)) branch.stop();
    [this.isRunning.value, this.isBusy.value, this.problem.value] = [false, false, ""];
    [this.moments.value, this.speed.value, this.lines.value] = [[], 0, []];
  }

  /** Keeps the run for who comes back to it; another link begins anew. */
  open(kind: Kind, settings: Settings) {
    const status = this.#branches.at(-1)?.seen?.status;
    const isSame = status?.kind === kind && !Object.keys(changesIn(status.settings, settings)).length;
    if (status && !isSame) this.reset();
  }

  /** Does something with the last line. */
  withLast = <T>(what: (branch: Branch) => Promise<T>) => this.#do(() => what(this.#branches.at(-1)!));

  /** Trains two settings beside each other from their start. */
  async compare(kind: Kind, first: [string, Settings], second: [string, Settings]) {
    this.reset();
    await this.#do(() => this.#begin(kind, [first, second]));
    await this.start(kind, second[1]);
  }

  /** Goes on with other settings, beside those before. Another network, or a setting of the start, ends the run. */
  async change(next: Kind, settings: Settings) {
    const from = this.#branches.at(-1);
    if (!from) return;
    const { kind, step, settings: before } = from.seen!.status;
    if (kind !== next) return this.reset();
    const changes = changesIn(before, settings);
    const names = Object.keys(changes);
    if (!names.length) return;
    if (step === 0 || names.some((name) => NETWORKS[kind].specs[name].isFixed)) return this.reset();
    await this.#do(async () => {
      const saved = await from.save();
      const [points, name] = [from.seen!.points, describe(kind, changes)];
      const fork = new Branch(name, from.data);
      await fork.fork(saved, points, changes).catch((error) => {
        fork.stop();
        throw error;
      });
      this.#keep(`before ${name}`, saved, points);
      for (const branch of this.#branches) if (branch !== from) branch.stop();
      from.name = "unchanged";
      this.#branches = [from, fork];
      announce(`Goes on with ${name}, beside the unchanged run.`);
    });
  }

  /** Goes back to a moment; what came after it is forgotten. */
  async rewind({ saved, points, name }: Moment) {
    this.pause();
    await this.#do(async () => {
      const branch = new Branch("", this.#branches.at(-1)!.data);
      await branch.fork(saved, points);
      await this.#show(branch);
      this.problem.value = "";
      announce(`Back at ${name}.`);
    });
  }

  /** Goes on with the run in a zip, and returns where it stands. */
  async load(file: Blob): Promise<Status | undefined> {
    this.pause();
    this.fileProblem.value = "";
    return this.#do(async () => {
      const [images, sequences] = [this.ownImages.value ?? (await this.images()), this.sequences.value];
      const branch = await Branch.open(file, this.python!, { images, sequences });
      await this.#show(branch);
      [this.moments.value, this.speed.value, this.problem.value] = [[], 0, ""];
      this.sequences.value = branch.data.sequences;
      if (branch.data.images?.source === null) this.ownImages.value = branch.data.images;
      this.#keep("the opened run", await branch.save(), branch.seen!.points);
      return branch.seen!.status;
    }, this.fileProblem);
  }

  /** Puts a line in place of those there are. */
  async #show(branch: Branch) {
    for (const other of this.#branches.splice(0)) other.stop();
    this.#branches = [branch];
    await this.#advance(0);
  }

  /** Reads other digits, also while nothing trains. */
  async read(digits: number[]) {
    this.digits = digits;
    if (this.#branches.length && !this.isRunning.value) await this.#do(() => this.#advance(0));
  }

  /** Whether a line of training has not yet come to its end, or to the end of an epoch. */
  #isUnfinished = (epoch = Infinity) =>
    this.#branches.some(({ seen }) => !seen!.status.isFinished && seen!.status.epoch < epoch);

  /** Does one thing after the other, and shows what has come of it; undefined after an error, which becomes a sentence. */
  #do<T>(what: () => Promise<T>, problem = this.problem): Promise<T | undefined> {
    const turn = this.#turn;
    const done = this.#last.then(async () => {
      if (turn !== this.#turn) return undefined;
      this.isBusy.value = true;
      try {
        return await what();
      } catch (error) {
        if (turn !== this.#turn) return undefined;
        this.pause();
        const failed = problem === this.problem ? "Training stopped" : "The file was not opened";
        announce((problem.value = `${failed}: ${(error as Error).message}.`));
        return undefined;
      } finally {
        if (turn === this.#turn)
          batch(() => {
            this.isBusy.value = false;
            this.lines.value = this.#branches.map(({ name, seen }) => ({ name, seen: seen! }));
          });
      }
    });
    this.#last = done;
    return done;
  }

  async #begin(kind: Kind, lines: [string, Settings][]) {
    if (this.#branches.length) return;
    const turn = this.#turn;
    const images = kind === "gan" ? (this.ownImages.value ?? (await this.images())) : null;
    if (kind === "gan" && !images) throw new Error("this file has no images to learn from");
    const data = { images, sequences: kind === "lstm" ? this.sequences.value : null };
    const branches = lines.map(([name]) => new Branch(name, data));
    const stop = () => branches.forEach((branch) => branch.stop());
    await Promise.all(branches.map((branch, k) => branch.start(kind, lines[k][1]))).catch((error) => {
      stop();
      throw error;
    });
    const saved = await branches.at(-1)!.save();
    if (turn !== this.#turn) return stop();
    this.#branches = branches;
    this.#keep("the start", saved, []);
  }

  /** Lets each line make some updates, one after the other on a phone; returns the milliseconds that they took. */
  async #advance(updates: number): Promise<number> {
    const last = this.#branches.at(-1)!;
    const before = last.seen!.status.epoch;
    const began = performance.now();
    const classes = this.isRunning.value && !prefersStills() ? 2 : 16; // 3 % of the time of a slice
    await runAll(this.#branches, { updates, trace: this.digits, grid: true, classes });
    const took = performance.now() - began;
    const { status, points } = last.seen!;
    if (updates) this.speed.value = (1000 * updates) / took;
    const part = Math.max(1, Math.round(status.settings.epochs / PARTS));
    if (Math.floor(status.epoch / part) > Math.floor(before / part))
      this.#keep(`epoch ${status.epoch}`, await last.save(), points);
    return took;
  }

  #keep(name: string, saved: Saved, points: Point[]) {
    this.moments.value = [...this.moments.value, { name, saved, points }].slice(-MAX_MOMENTS);
  }

  /** Says where the run stands. */
  #tell(news: string) {
    this.#told = performance.now();
    announce([news, this.#branches.at(-1)!.where()].filter(Boolean).join(", "));
  }
}
