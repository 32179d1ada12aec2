/** Runs of the page, and what of them a lesson can leave out. */
import type { GanContent, LstmContent, Manifest } from "./manifest";

export type Run = GanContent | LstmContent;

export const isGan = (run: Run): run is GanContent => "generator" in run;

export const allRuns = ({ gans, lstms }: Manifest): Run[] => [...gans, ...lstms];

/** Returns a function that computes the value of a key once, and forgets what has failed. */
export function once<K extends object, V>(compute: (key: K) => Promise<V>): (key: K) => Promise<V> {
  const known = new WeakMap<K, Promise<V>>();
  return (key) => {
    if (!known.has(key)) known.set(key, compute(key));
    return known.get(key)!;
  };
}
