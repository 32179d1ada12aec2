/**
 * The files of a run folder, as a zip: `reviver load`, `plot` and `explore` open it, and `train --resume` goes on with it. See
 * `reviver.runs.checkpoint`.
 */
import type { Manifest } from "../kit/manifest";
import { sha256Hex } from "./sha256";
import { safetensors, textBytes, zip, type Files, type Tensor } from "./zip";

/** What run folders take from Python. */
export type Python = Pick<Manifest, "version" | "lstmConfig" | "ganConfig">;

export const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Names as Python has them. */
export const renamed = (record: object) =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [snake(name), value]));

/** The state of torch's generator, as `torch.Generator.get_state` gives it. */
export function generatorState({ state, next }: { state: Int32Array; next: number }): Tensor {
  const view = new DataView(new ArrayBuffer(5056));
  view.setInt32(8, next === 624 ? 1 : 625 - next, true); // numbers left, counted from 1
  view.setInt32(12, 1, true); // is seeded
  view.setInt32(16, next, true);
  state.forEach((value, k) => view.setInt32(24 + 8 * k, value, true));
  return [new Uint8Array(view.buffer), [5056]];
}

/** What a run folder holds. */
export interface RunFiles {
  kind: "lstm" | "gan";
  isFinished: boolean;
  /** Of run.json, besides what all have. */
  record: { config: object; seconds: number; data?: object };
  /** Lines of metrics.jsonl. */
  metrics: object[];
  networks: Record<string, Tensor>;
  /** Optimizers, generators and sums. */
  training: Record<string, Tensor>;
  position: { epoch: number; batch: number; step: number };
  extra: object;
  /** What it learned from, if only the page has it, by path. */
  files?: Files;
}

const json = (value: unknown) => textBytes(JSON.stringify(value));

/** Returns the zip of a run, in a folder `name`. */
export function zipRun(run: RunFiles, name: string, version: string): Uint8Array<ArrayBuffer> {
  const { record, metrics, position } = run;
  const { seconds } = record;
  const files: Files = {
    "networks.safetensors": safetensors(run.networks),
    "training.safetensors": safetensors(run.training),
    "state.json": json({ ...position, seconds, metrics_count: metrics.length, extra: run.extra }),
  };
  const sums = Object.fromEntries(Object.entries(files).map(([file, bytes]) => [file, sha256Hex(bytes)]));
  const status = run.isFinished ? "finished" : "interrupted";
  const line = (found: object) => `${JSON.stringify({ ...renamed(found), seconds: 0 })}\n`;
  const folder = `${name}/checkpoints/step-${String(position.step).padStart(6, "0")}`;
  return zip({
    [`${name}/run.json`]: json({ schema: 1, kind: run.kind, status, ...record, versions: { reviver: version } }),
    [`${name}/metrics.jsonl`]: textBytes(metrics.map(line).join("")),
    [`${name}/checkpoints/last.json`]: json({ step: position.step }),
    ...Object.fromEntries(Object.entries(files).map(([file, bytes]) => [`${folder}/${file}`, bytes])),
    [`${folder}/checksums.json`]: json(sums),
    ...Object.fromEntries(Object.entries(run.files ?? {}).map(([file, bytes]) => [`${name}/${file}`, bytes])),
  });
}
