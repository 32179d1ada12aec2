/** The runs of a session: one of each network, of which one is on show, and one that was discarded. */
import { batch, signal } from "@preact/signals";
import { announce } from "../../kit/announce";
import type { Data, Images, Kind, SequenceData, Status } from "../../train/protocol";
import type { Python } from "../../train/run_files";
import type { Line, Moment } from "./branch";
import type { Kept } from "./kept";
import { Lines } from "./lines";

export const NOTHING: Data = { images: null, sequences: null };

export class Runs {
  lines = signal<Line[]>([]); // The lines of the run on show, the one that goes on with the settings last
  isRunning = signal(false);
  isBusy = signal(false);
  problem = signal("");
  fileProblem = signal(""); // What is wrong with a file that should be opened
  moments = signal<Moment[]>([]);
  speed = signal(0); // Updates a second, lately
  saved = signal(""); // Name of the run folder that was saved last
  ended = signal(""); // Which line made room for another
  kept = signal<Kept | null>(null); // What the browser kept of an earlier visit
  discarded = signal(""); // Why there is a run to have back
  /** What a reader brought to learn from: in place of palindromes, and of the images of the page. */
  sequences = signal<SequenceData | null>(null);
  ownImages = signal<Images | null>(null);
  /** Loads what the GAN learns from. */
  images: () => Promise<Images | null> = async () => null;
  python: Python | null = null; // What run folders take from it
  protected current = new Lines("lstm", NOTHING);
  #others = new Map<Kind, Lines>();
  #undo: Lines | null = null;

  get isUnsaved() {
    return [this.current, ...this.#others.values()].some(({ step, savedStep }) => step > savedStep);
  }

  /** Shows another network, as it was left. */
  protected choose(kind: Kind): Lines {
    if (kind !== this.current.kind) {
      this.#others.set(this.current.kind, this.current);
      this.put(this.#others.get(kind) ?? new Lines(kind, NOTHING));
      this.#others.delete(kind);
    }
    return this.current;
  }

  pause() {
    this.isRunning.value = false;
  }

  /** Takes the run of another session, where it stands; returns whether there was one. */
  async adopt(from: Runs): Promise<boolean> {
    from.pause();
    const run = from.current;
    await run.queue;
    if (!run.branches.length || run !== from.current) return false;
    from.put(new Lines(run.kind, NOTHING));
    this.choose(run.kind);
    this.discard(run, "A run from Start took its place.");
    return true;
  }

  /** Brings back the run that was discarded last, and returns where it stands. */
  undo(): Status | undefined {
    const back = this.#undo;
    if (!back) return undefined;
    this.#undo = null;
    this.choose(back.kind);
    this.current.stop();
    this.discarded.value = "";
    this.put(back);
    announce("The run is back.");
    return back.status;
  }

  /** Puts a run in place of the one on show, which a reader may have back if it has trained. */
  protected discard(next: Lines, why: string) {
    const before = this.current;
    if (before.step > 0) {
      this.#undo?.stop();
      [this.#undo, this.discarded.value] = [before, why];
    } else before.stop();
    this.put(next);
  }

  protected put(run: Lines) {
    this.current = run;
    batch(() => {
      [this.isRunning.value, this.isBusy.value, this.speed.value] = [false, false, 0];
      [this.problem.value, this.ended.value] = ["", ""];
      if (run.kind === "lstm") this.sequences.value = run.own.sequences;
      else this.ownImages.value = run.own.images;
      this.publish();
    });
  }

  protected publish() {
    [this.lines.value, this.moments.value] = [this.current.shown, this.current.moments];
  }

  /** Does one thing after the other, and shows what has come of it; undefined after an error, which becomes a sentence. */
  protected do<T>(what: () => Promise<T>, problem = this.problem): Promise<T | undefined> {
    const run = this.current;
    const done = run.queue.then(async () => {
      if (run !== this.current) return undefined; // it was asked of another run
      this.isBusy.value = true;
      try {
        return await what();
      } catch (error) {
        if (run !== this.current) return undefined;
        this.pause();
        const failed = problem === this.problem ? "Training stopped" : "The file was not opened";
        announce((problem.value = `${failed}: ${(error as Error).message}.`));
        return undefined;
      } finally {
        if (run === this.current)
          batch(() => {
            this.isBusy.value = false;
            this.publish();
          });
      }
    });
    run.queue = done;
    return done;
  }
}
