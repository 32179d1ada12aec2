/**
 * The files of a run folder, as a zip: `reviver load`, `plot` and `explore` open it, and `train --resume` goes on with it. See
 * `reviver.runs.checkpoint`.
 */
import { utf8ToBytes } from "@noble/hashes/utils.js";
import type { Manifest } from "../kit/manifest";
import { Archive, zip, type Files } from "./archive";
import { safetensors, Tensors, type Tensor } from "./safetensors";
import { checkSettings, type Specs, type Values } from "./settings";

/** What run folders take from Python. */
export type Python = Pick<Manifest, "version" | "lstmConfig" | "ganConfig">;

const separated = (name: string, by: string) => name.replace(/[A-Z]/g, (letter) => by + letter.toLowerCase());
export const snake = (name: string) => separated(name, "_");
/** The name of an option of the command. */
export const kebab = (name: string) => separated(name, "-");

export const renamed = (record: object) =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [snake(name), value]));

export interface RunFiles {
  kind: "lstm" | "gan";
  isFinished: boolean;
  record: { config: object; seconds: number; data?: object }; // Of run.json, besides what all have
  metrics: object[]; // Lines of metrics.jsonl
  tensors: Record<string, Tensor>; // Of the checkpoint
  position: { epoch: number; batch: number; step: number };
  extra: object;
  files?: Files; // What it learned from, if only the page has it, by path
}

const json = (value: unknown) => utf8ToBytes(JSON.stringify(value));

export function zipRun(run: RunFiles, name: string, version: string): Uint8Array<ArrayBuffer> {
  const { record, metrics, position } = run;
  const { seconds } = record;
  const saved = { ...position, seconds, metrics_count: metrics.length, extra: run.extra };
  const checkpoint = safetensors(run.tensors, { position: JSON.stringify(saved) });
  const status = run.isFinished ? "finished" : "interrupted";
  const line = (found: object) => `${JSON.stringify({ ...renamed(found), seconds: 0 })}\n`;
  return zip({
    [`${name}/run.json`]: json({ schema: 1, kind: run.kind, status, ...record, versions: { reviver: version } }),
    [`${name}/metrics.jsonl`]: utf8ToBytes(metrics.map(line).join("")),
    [`${name}/checkpoints/step-${String(position.step).padStart(6, "0")}.safetensors`]: checkpoint,
    ...Object.fromEntries(Object.entries(run.files ?? {}).map(([file, bytes]) => [`${name}/${file}`, bytes])),
  });
}

/** Bytes at most: of a file of JSON, of lines of metrics, and of tensors. */
const [MAX_JSON, MAX_LINES, MAX_TENSORS] = [1 << 20, 1 << 24, 1 << 26];

/** What was read of a run folder, which nobody has checked yet but for the sizes. */
export interface RunRead {
  archive: Archive;
  folder: string; // Its path in the archive, with a slash, or empty
  record: any;
  metrics: any[];
  tensors: Tensors;
  position: any;
}

/** Reads a run folder, of Python or of the page, out of a zip. */
export async function unzipRun(file: Blob): Promise<RunRead> {
  const archive = await Archive.open(file);
  const depth = (path: string) => path.split("/").length;
  const found = archive.paths.filter((path) => /(^|\/)run\.json$/.test(path)).sort((a, b) => depth(a) - depth(b));
  if (!found.length) throw new Error("the zip has no run.json, so it is not a run folder");
  const folder = found[0].slice(0, -"run.json".length);
  const record = parse(archive.readText(`${folder}run.json`, MAX_JSON), "run.json");
  if (record.schema !== 1) throw new Error(`run.json has schema ${text(record.schema)}, and the page reads 1`);
  const last = lastCheckpoint(archive.paths, `${folder}checkpoints/`);
  if (!last) throw new Error("the run has no checkpoint yet");
  const tensors = new Tensors(archive.read(last, MAX_TENSORS), last.slice(folder.length));
  const position = parse(tensors.metadata.position ?? "", last.slice(folder.length));
  for (const name of ["epoch", "batch", "step", "metrics_count"]) wholeNumber(position[name], name);
  if (position.extra?.rollbacks?.length)
    throw new Error("the run went back to a checkpoint, which the page does not support");
  const lines = archive.readText(`${folder}metrics.jsonl`, MAX_LINES).split("\n").slice(0, position.metrics_count);
  return { archive, folder, record, position, tensors, metrics: lines.map((line) => parse(line, "metrics.jsonl")) };
}

function lastCheckpoint(paths: string[], folder: string): string | undefined {
  const stepOf = (path: string) => Number(/^step-(\d+)\.safetensors$/.exec(path.slice(folder.length))?.[1]);
  return paths.filter((path) => path.startsWith(folder) && stepOf(path) >= 0).sort((a, b) => stepOf(b) - stepOf(a))[0];
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
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new Error(`${name} is not a number: ${text(value)}`);
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
