/** Runs of the page, and what of them a lesson can leave out. */
import { signal } from "@preact/signals";
import type { GanContent, RecordedGan, LstmContent, RecordedLstm, Manifest } from "./manifest";

/** A run: with its networks, or what its training recorded. */
export type Run = RecordedGan | RecordedLstm;

export const isGan = (run: Run): run is RecordedGan => "imageShape" in run;

const added = signal(0);

/** All runs; who renders or follows it notices those that the page adds. */
export function allRuns({ gans, lstms, recorded }: Manifest): Run[] {
  void added.value;
  return [...gans, ...lstms, ...recorded];
}

/** Adds a run that the page has trained, before the others, so that panels begin with it; in place of one with the same id. */
export function addRun(manifest: Manifest, run: GanContent | LstmContent) {
  const runs: Run[] = isGan(run) ? manifest.gans : manifest.lstms;
  const at = runs.findIndex(({ id }) => id === run.id);
  runs.splice(Math.max(at, 0), at < 0 ? 0 : 1, run);
  added.value++;
}

/** Whether the page can run the networks of a run; of another it has what training recorded. */
export const hasNetworks = (run: Run): run is GanContent | LstmContent => "runArgument" in run;

/** What a panel says of a run without networks. */
export const RECORDED = "This page cannot run the networks of this run. It shows what training recorded.";

/** Says which runs of a kind have networks that the page cannot run; null if there are none. */
export function withoutNetworks({ recorded }: Manifest, kind: "gan" | "lstm"): string | null {
  const names = recorded.filter((run) => isGan(run) === (kind === "gan")).map(({ name }) => name);
  return names.length
    ? `This page cannot run the networks of ${names.join(", ")}. Curves and facts shows what training recorded.`
    : null;
}

/** Returns a function that computes the value of a key once. */
export function once<K extends object, V>(compute: (key: K) => V): (key: K) => V {
  const known = new WeakMap<K, V>();
  return (key) => {
    if (!known.has(key)) known.set(key, compute(key));
    return known.get(key)!;
  };
}
