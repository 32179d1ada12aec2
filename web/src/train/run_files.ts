/**
 * The files of a run folder, as a zip: `reviver load`, `plot` and `explore` open it, and `train --resume` goes on with it. See
 * `reviver.runs.checkpoint`.
 */
import { utf8ToBytes } from "@noble/hashes/utils.js";
import type { Manifest } from "../kit/manifest";
import { Archive, zip, type Files } from "./archive";
import { sha256Hex } from "./random";
import { safetensors, Tensors, type Tensor } from "./safetensors";
import { checkSettings, type Specs, type Values } from "./settings";

/** What run folders take from Python. */
export type Python = Pick<Manifest, "version" | "lstmConfig" | "ganConfig">;

const separated = (name: string, by: string) => name.replace(/[A-Z]/g, (letter) => by + letter.toLowerCase());
export const snake = (name: string) => separated(name, "_");
/** The name of an option of the command. */
export const kebab = (name: string) => separated(name, "-");

/** Names as Python has them. */
export const renamed = (record: object) =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [snake(name), value]));

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

const json = (value: unknown) => utf8ToBytes(JSON.stringify(value));

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
    [`${name}/metrics.jsonl`]: utf8ToBytes(metrics.map(line).join("")),
    [`${name}/checkpoints/last.json`]: json({ step: position.step }),
    ...Object.fromEntries(Object.entries(files).map(([file, bytes]) => [`${folder}/${file}`, bytes])),
    [`${folder}/checksums.json`]: json(sums),
    ...Object.fromEntries(Object.entries(run.files ?? {}).map(([file, bytes]) => [`${name}/${file}`, bytes])),
  });
}

/** Bytes at most: of a file of JSON, of lines of metrics, and of tensors. */
const [MAX_JSON, MAX_LINES, MAX_TENSORS] = [1 << 20, 1 << 24, 1 << 26];

/** What was read of a run folder, which nobody has checked yet but for the sizes. */
export interface RunRead {
  archive: Archive;
  /** Its path in the archive, with a slash, or empty. */
  folder: string;
  record: any;
  metrics: any[];
  networks: Tensors;
  training: Tensors;
  position: any;
}

/** Reads a run folder, of Python or of the page, out of a zip. */
export async function unzipRun(file: Blob): Promise<RunRead> {
  const archive = await Archive.open(file);
  const depth = (path: string) => path.split("/").length;
  const found = archive.paths.filter((path) => /(^|\/)run\.json$/.test(path)).sort((a, b) => depth(a) - depth(b));
  if (!found.length) throw new Error("the zip has no run.json, so it is no run folder");
  const folder = found[0].slice(0, -"run.json".length);
  const read = async (path: string, limit = MAX_JSON) => parse(await archive.readText(folder + path, limit), path);
  const record = await read("run.json");
  if (record.schema !== 1) throw new Error(`run.json has schema ${text(record.schema)}, and the page reads 1`);
  if (!archive.has(`${folder}checkpoints/last.json`)) throw new Error("the run has no checkpoint yet");
  const step = wholeNumber((await read("checkpoints/last.json")).step, "the step of the checkpoint");
  const at = `checkpoints/step-${String(step).padStart(6, "0")}`;
  const position = await read(`${at}/state.json`);
  for (const name of ["epoch", "batch", "step", "metrics_count"]) wholeNumber(position[name], name);
  if (position.extra?.rollbacks?.length) throw new Error("the run went back to a checkpoint, which the page cannot do");
  const tensors = async (name: string) =>
    new Tensors(await archive.read(`${folder}${at}/${name}.safetensors`, MAX_TENSORS), `${name}.safetensors`);
  const lines = (await archive.readText(`${folder}metrics.jsonl`, MAX_LINES))
    .split("\n")
    .slice(0, position.metrics_count);
  return {
    ...{ archive, folder, record, position, metrics: lines.map((line) => parse(line, "metrics.jsonl")) },
    ...{ networks: await tensors("networks"), training: await tensors("training") },
  };
}

function parse(json: string, path: string) {
  try {
    const value = JSON.parse(json);
    if (value && typeof value === "object") return value;
  } catch {} // as for another value
  throw new Error(`${path} is damaged`);
}

/** A value of a file, short enough for a sentence. */
const text = (value: unknown) => String(JSON.stringify(value)).slice(0, 60);

export function wholeNumber(value: unknown, name: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new Error(`${name} is no number: ${text(value)}`);
  return value as number;
}

/** Returns numbers of a line of metrics by their names here; null if one is none. */
export function lineOf<N extends string>(line: any, names: readonly N[]): Record<N, number> | null {
  const found = names.map((name) => [name, line[snake(name)]] as const);
  return found.every(([, value]) => Number.isFinite(value)) ? (Object.fromEntries(found) as Record<N, number>) : null;
}

/**
 * Returns the settings of run.json as the page has them. Others must be `python`'s defaults, unless they change nothing that the
 * page trains: `free`.
 */
export function readSettings<S>(config: object, specs: Specs, python: object, free: string[]): S {
  const given = new Map(Object.entries(config));
  const found: Values = {};
  for (const [name, { original }] of Object.entries(specs)) {
    const value = given.has(snake(name)) ? given.get(snake(name)) : original;
    found[name] = typeof value === "boolean" ? (value ? "on" : "off") : value;
    given.delete(snake(name));
  }
  checkSettings(found, specs);
  for (const [name, value] of given) {
    const standard = (python as any)[name];
    if (value !== standard && !free.includes(name))
      throw new Error(`its setting ${name} is ${text(value)}, and the page trains only with ${text(standard)}`);
  }
  return found as S;
}
