/** A training session: a run of each network, of which one is on show, and what a reader does with it. */
import { signal } from "@preact/signals";
import { announce } from "../../kit/announce";
import { clamp } from "../../kit/format";
import { prefersStills } from "../../kit/player";
import type { Data, Kind, Settings, Status } from "../../train/protocol";
import { Branch, type Moment } from "./branch";
import { writeKept } from "./kept";
import { Lines } from "./lines";
import { NOTHING, Runs } from "./runs";
import { changesIn, describe, labelsOf, NETWORKS } from "./settings";

/** Milliseconds of training between two pictures, of which those of a GAN take time, and for whoever prefers less motion. */
const [SLICES, SLOW_SLICE] = [{ lstm: 120, gan: 400 }, 1000];
/** Milliseconds between two announcements, and between two times that the browser keeps a run that trains. */
const [SILENCE, KEEPING] = [10_000, 30_000];
/** Milliseconds over which the speed is a mean, and between two of its values. */
const [WINDOW, INTERVAL] = [10_000, 500];

/** Updates a second; 0 for as many as there is time for. */
export type Pace = 0 | 1 | 10;

export class Session extends Runs {
  pace = signal<Pace>(0);
  digits: number[] = []; // What the LSTM reads
  #times: { time: number; step: number }[] = [];
  #told = -Infinity;

  /** @param isDemo whether it began unasked: then it says nothing to a screen reader, and the browser does not keep it */
  constructor(readonly isDemo = false) {
    super();
  }

  /** Shows the paused run of a network if it has these settings, else the network before its training. */
  async open(kind: Kind, settings: Settings) {
    const status = this.choose(kind).status;
    if (status && !Object.keys(changesIn(status.settings, settings)).length) return;
    await this.restart(settings, "The panel was opened with other settings.");
  }

  /** Begins anew, without an update yet; `own` is what a reader brought to learn from. */
  async restart(settings: Settings, why: string, own = this.current.own) {
    this.discard(new Lines(this.current.kind, own), why);
    await this.do(() => this.#begin([["", settings]]));
  }

  learn(kind: Kind, settings: Settings, own: Data) {
    this.choose(kind);
    return this.restart(settings, "The data changed.", own);
  }

  /** Goes on, for some epochs at most. */
  async start(settings: Settings, epochs = Infinity) {
    if (this.isRunning.value) return;
    this.isRunning.value = true;
    this.problem.value = "";
    this.#times = [];
    const run = this.current;
    await this.do(() => this.#begin([["", settings]]));
    let keptAt = performance.now();
    const goal = (run.status?.epoch ?? 0) + epochs;
    for (let updates = 1; run === this.current && this.isRunning.value && run.isUnfinished(goal);) {
      const pace = this.pace.value;
      const { status, epochStart } = run.branches.at(-1)!.seen!;
      const left = Math.max(1, status.updatesPerEpoch - (status.step - epochStart));
      const took = await this.do(() =>
        this.#advance(Math.min(pace ? 1 : updates, epochs < Infinity ? left : Infinity)),
      );
      if (took === undefined) return;
      const slice = prefersStills() ? SLOW_SLICE : SLICES[run.kind];
      updates = clamp(Math.round((updates * slice) / Math.max(took, 1)), 1, 4 * updates);
      if (pace) await new Promise((resolve) => setTimeout(resolve, Math.max(0, 1000 / pace - took)));
      if (performance.now() - this.#told >= SILENCE) this.#tell("");
      if (performance.now() - keptAt >= KEEPING) {
        await this.keep();
        keptAt = performance.now();
      }
    }
    if (run !== this.current) return;
    this.pause();
    if (run.branches.length) this.#tell(run.isUnfinished() ? "Paused" : "Finished");
    if (run.step) await this.keep();
  }

  async step(settings: Settings) {
    await this.do(async () => {
      await this.#begin([["", settings]]);
      await this.#advance(1);
      this.#tell("");
    });
  }

  withLast = <T>(what: (branch: Branch) => Promise<T>) => this.do(() => what(this.current.branches.at(-1)!));

  pack = () =>
    this.withLast(async (branch) => {
      const packed = await this.#pack(branch);
      [this.current.savedStep, this.saved.value] = [branch.seen!.status.step, packed.name];
      return packed;
    });

  async #pack(branch: Branch) {
    const { kind, settings, step } = branch.seen!.status;
    const name = `${kind}-seed${settings.seed}-step${step}`;
    return { name, content: await branch.pack(name, this.python!) };
  }

  /** Keeps the run in the browser, so that a reload does not lose it. */
  keep = () =>
    this.withLast(async (branch) => {
      if (this.isDemo) return;
      const kind = branch.seen!.status.kind === "gan" ? "GAN" : "LSTM";
      const { content } = await this.#pack(branch);
      await writeKept({ name: `${kind}, ${branch.where()}`, content: new Blob([content]) });
    });

  async compare(lines: [string, Settings][]) {
    const names = lines.map(([name]) => name);
    const list = `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
    this.discard(new Lines(this.current.kind, NOTHING), `Training ${list} side by side.`);
    await this.do(() => this.#begin(lines));
    await this.start(lines.at(-1)![1]);
  }

  /** Goes on with other settings, beside those before. A setting of the start discards the run. */
  async change(settings: Settings) {
    const { kind, status } = this.current;
    if (!status) return this.restart(settings, "");
    const changes = changesIn(status.settings, settings);
    const names = Object.keys(changes);
    if (!names.length) return;
    const isFixed = names.some((name) => NETWORKS[kind].specs[name].isFixed);
    if (status.step === 0 || isFixed) return this.restart(settings, `${labelsOf(kind, names)} changed.`);
    await this.do(async () => {
      const gone = await this.current.change(changes);
      this.ended.value = gone === undefined ? "" : `Three lines fit beside each other, so that of ${gone} has ended.`;
      announce(`Goes on with ${describe(kind, changes)}, beside the unchanged run. ${this.ended.value}`.trim());
    });
  }

  /** Goes back to a moment; what came after it is forgotten. */
  async rewind(moment: Moment) {
    this.pause();
    await this.do(async () => {
      await this.current.rewind(moment);
      await this.#advance(0);
      this.problem.value = "";
      announce(`Back at ${moment.name}.`);
    });
  }

  /** Goes on with the run in a zip, and returns where it stands. */
  async load(file: Blob): Promise<Status | undefined> {
    this.pause();
    this.fileProblem.value = "";
    const branch = await this.do(async () => {
      const [images, sequences] = [this.ownImages.value ?? (await this.images()), this.sequences.value];
      return Branch.open(file, this.python!, { images, sequences });
    }, this.fileProblem);
    if (!branch) return undefined;
    const { kind, step } = branch.seen!.status;
    const { images, sequences } = branch.data;
    this.choose(kind);
    const run = new Lines(kind, { images: images?.source === null ? images : null, sequences });
    [run.branches, run.savedStep] = [[branch], step];
    this.discard(run, "A saved run was opened.");
    return this.do(async () => {
      await this.#advance(0);
      await run.keep("the opened run");
      return run.status!;
    });
  }

  /** Reads other digits, also while nothing trains. */
  async read(digits: number[]) {
    this.digits = digits;
    if (this.current.branches.length && !this.isRunning.value) await this.do(() => this.#advance(0));
  }

  async #begin(lines: [string, Settings][]) {
    const run = this.current;
    if (run.branches.length) return;
    const images = run.kind === "gan" ? (run.own.images ?? (await this.images())) : null;
    if (run.kind === "gan" && !images) throw new Error("this file has no images to learn from");
    await run.begin({ images, sequences: run.own.sequences }, lines);
    if (run !== this.current) return run.stop();
    await this.#advance(0);
  }

  /** Lets each line make some updates; returns the milliseconds that they took. */
  async #advance(updates: number): Promise<number> {
    const began = performance.now();
    const classes = this.isRunning.value && !prefersStills() ? 2 : 16; // 3 % of the time of a slice
    await this.current.advance({ updates, trace: this.digits, grid: true, classes });
    const now = performance.now();
    if (updates) this.#measure(now, this.current.status!.step);
    return now - began;
  }

  #measure(time: number, step: number) {
    const times = this.#times;
    if (times.length && time - times.at(-1)!.time < INTERVAL) return;
    times.push({ time, step });
    while (time - times[0].time > WINDOW) times.shift();
    if (times.length > 1) this.speed.value = (1000 * (step - times[0].step)) / (time - times[0].time);
  }

  #tell(news: string) {
    if (this.isDemo) return;
    this.#told = performance.now();
    announce([news, this.current.branches.at(-1)!.where()].filter(Boolean).join(", "));
  }
}
