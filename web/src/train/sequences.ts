/**
 * Own labeled sequences of one channel, from a CSV file, as `reviver.data.sequences` reads, splits and standardizes them: a
 * header with the columns `sequence`, numbers separated by spaces or commas, and `label`.
 */
import { utf8ToBytes } from "@noble/hashes/utils.js";
import { roundToEven } from "../kit/math";
import type { Examples, Split } from "./palindromes";
import { makeRng } from "../compute/random";

/** What the page takes at most, so that a run stays small. */
export const MAX_FILE = 4 << 20;
const [MAX_ROWS, MAX_STEPS, MAX_CLASSES, MAX_LABEL, MAX_LISTED] = [20_000, 100, 100, 200, 3];
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const INTEGER = /^[+-]?\d{1,200}$/;
const GIVE_NUMBERS = "write numbers separated by spaces or by commas, or remove the row";

export interface SequenceData {
  name: string; // Of the file
  file: Uint8Array<ArrayBuffer>;
  classes: string[];
  rows: { numbers: Float32Array; label: number }[]; // In the order of the file
  steps: number; // T of the longest
}

/** The data of a run: both sets standardized by the training set. */
export interface SequenceSplit extends Split<Examples> {
  mean: number;
  scale: number;
  fractions: number[]; // Of each class among the training sequences
}

/** Reads lines that somebody typed: numbers, a comma, and a label. */
export const readTyped = (text: string) =>
  readSequences(utf8ToBytes(`sequence,label\n${text}`), "sequences.csv", "line");

/** Reads a CSV file; throws a sentence for people. Lines are counted without the header. */
export function readSequences(file: Uint8Array<ArrayBuffer>, name: string, unit: "row" | "line" = "row"): SequenceData {
  const records = parseCsv(decode(file, name), unit);
  const header = (records.find(({ fields }) => fields.some(Boolean))?.fields ?? []).map((field) => field.trim());
  if (header.length === 1 && /[;\t]/.test(header[0])) {
    const separator = header[0].includes(";") ? "semicolons" : "tabs";
    throw new Error(`the columns of ${name} are separated by ${separator}; save it with commas`);
  }
  const [sequenceAt, labelAt] = ["sequence", "label"].map((column) => header.indexOf(column));
  if (sequenceAt < 0 || labelAt < 0) {
    const columns = header.slice(0, 10).join(", ").slice(0, 100) || "none";
    throw new Error(`${name} has the columns ${columns}; name two of them sequence and label`);
  }
  const problems: [string, string][] = [];
  const found: { numbers: Float32Array; label: string }[] = [];
  records
    .filter(({ fields }) => fields.some(Boolean))
    .slice(1)
    .forEach(({ row, fields }) => {
      const refuse = (problem: string, remedy: string) => void problems.push([`${unit} ${row}: ${problem}`, remedy]);
      if (fields.length !== header.length)
        return refuse(
          `${fields.length} field${fields.length === 1 ? "" : "s"} found, ${header.length} expected`,
          'put a sequence that contains commas in quotes: "1, 2, 3"',
        );
      const [numbers, problem] = parseNumbers(fields[sequenceAt]);
      if (problem) refuse(problem, GIVE_NUMBERS);
      if (numbers.length > MAX_STEPS) refuse(`the sequence has ${numbers.length} numbers`, `give at most ${MAX_STEPS}`);
      const label = fields[labelAt].trim();
      if (!label) refuse("the label is missing", "add one, or remove the row");
      if (label.length > MAX_LABEL) refuse(`the label has ${label.length} characters`, `give at most ${MAX_LABEL}`);
      found.push({ numbers, label });
    });
  if (problems.length) {
    const more = problems.length > MAX_LISTED ? `, and ${problems.length - MAX_LISTED} more` : "";
    const listed = problems.slice(0, MAX_LISTED).map(([problem]) => problem);
    throw new Error(`${listed.join(", ")}${more}; ${problems[0][1]}`);
  }
  if (found.length > MAX_ROWS) throw new Error(`${name} has ${found.length} sequences; give at most ${MAX_ROWS}`);
  const classes = classNames(found.map(({ label }) => label));
  const rows = found.map(({ numbers, label }) => ({ numbers, label: classes.indexOf(label) }));
  return { name, file, classes, rows, steps: Math.max(...rows.map(({ numbers }) => numbers.length)) };
}

function decode(file: Uint8Array, name: string) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(file);
  } catch {
    throw new Error(`${name} is not UTF-8; save it as UTF-8 (in a spreadsheet: “CSV UTF-8”)`);
  }
}

/** The records of a CSV file, counted as in a spreadsheet, as Python's strict reader finds them. */
function parseCsv(text: string, unit: "row" | "line"): { row: number; fields: string[] }[] {
  const records: { row: number; fields: string[] }[] = [];
  const part = /(?:"((?:[^"]|"")*)"|(?!")([^,\r\n]*))(,|\r\n|\r|\n|$)/y;
  const first = unit === "row" ? 1 : 0;
  let fields: string[] = [];
  while (part.lastIndex < text.length || fields.length) {
    const found = part.exec(text);
    if (!found) throw new Error(`${unit} ${first + records.length}: check the quotes there`);
    fields.push(found[1]?.replaceAll('""', '"') ?? found[2]);
    if (found[3] === ",") continue;
    records.push({ row: first + records.length, fields });
    fields = [];
  }
  return records;
}

/** Returns the numbers of a text in single precision, and what is wrong with it. */
export function parseNumbers(text: string): [Float32Array, string] {
  const inner = text
    .trim()
    .replace(/^\[(.*)\]$/s, "$1")
    .trim();
  if (!inner) return [new Float32Array(), "the sequence is empty"];
  const parts = inner.includes(",") ? inner.split(",").map((part) => part.trim()) : inner.split(/\s+/);
  const numbers = Float32Array.from(parts, Number);
  const wrong = parts.findIndex((part, k) => !NUMBER.test(part) || !Number.isFinite(numbers[k]));
  if (wrong < 0) return [numbers, ""];
  const part = parts[wrong].slice(0, 40);
  if (!part) return [numbers, `there is nothing at step ${wrong + 1}, between two commas`];
  const problem = NUMBER.test(parts[wrong]) ? "is too large" : "is not a number";
  return [numbers, `“${part}” at step ${wrong + 1} ${problem}`];
}

/** The distinct labels: by value if all are integers, else alphabetically. */
function classNames(labels: string[]): string[] {
  const names = [...new Set(labels)];
  if (names.length < 2)
    throw new Error(
      `${names.length ? `every row has the label “${names[0].slice(0, 40)}”` : "there are no rows"}; give at least 2 classes`,
    );
  if (names.length > MAX_CLASSES)
    throw new Error(`there are ${names.length} classes; give at most ${MAX_CLASSES}, or another column as label`);
  const compare = <V>(a: V, b: V) => (a < b ? -1 : a > b ? 1 : 0);
  const areIntegers = names.every((name) => INTEGER.test(name));
  return names.sort((a, b) => (areIntegers && compare(BigInt(a), BigInt(b))) || compare(a, b));
}

/** Splits sequences at random with about the same classes in both sets, and standardizes them. */
export function splitSequences(
  { rows, classes, steps }: SequenceData,
  trainFraction: number,
  seed: number,
): SequenceSplit {
  const groups = classes
    .map((_, label) => [...rows.keys()].filter((n) => rows[n].label === label))
    .sort(([a], [b]) => a - b); // in the order in which the classes appear
  if (groups.every(({ length }) => length < 2))
    throw new Error("no class has a second row, so that none is left for validation; give at least 2 rows of a class");
  const rng = makeRng(seed, "split");
  const shuffled = groups.map((group) => Array.from(rng.permutation(group.length), (k) => group[k]));
  const sizes = trainSizes(
    groups.map(({ length }) => length),
    trainFraction,
  );
  const sorted = (parts: number[][]) => parts.flat().sort((a, b) => a - b);
  const train = sorted(shuffled.map((group, k) => group.slice(0, sizes[k])));
  const validation = sorted(shuffled.map((group, k) => group.slice(sizes[k])));
  const all = train.flatMap((n) => [...rows[n].numbers]);
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const isConstant = all.every((value) => value === all[0]);
  const mean = isConstant ? all[0] : sum(all) / all.length;
  const scale = isConstant ? 1 : Math.sqrt(sum(all.map((value) => (value - mean) ** 2)) / all.length);
  const take = (chosen: number[]): Examples => {
    const values = new Float32Array(chosen.length * steps);
    for (const [k, n] of chosen.entries())
      for (const [t, value] of rows[n].numbers.entries()) values[k * steps + t] = (value - mean) / scale;
    const lengths = Uint8Array.from(chosen, (n) => rows[n].numbers.length + 1);
    const targets = Uint8Array.from(chosen, (n) => rows[n].label);
    return { count: chosen.length, length: steps + 1, lengths, values, targets };
  };
  const fractions = classes.map((_, label) => train.filter((n) => rows[n].label === label).length / train.length);
  return { train: take(train), validation: take(validation), mean, scale, fractions };
}

/** Training rows of each class, by the largest remainder. */
function trainSizes(counts: number[], fraction: number): number[] {
  const limits = counts.map((count) => Math.max(1, count - 1));
  const sizes = counts.map((count, k) => Math.min(Math.max(Math.floor(fraction * count), 1), limits[k]));
  let missing = roundToEven(fraction * counts.reduce((a, b) => a + b, 0)) - sizes.reduce((a, b) => a + b, 0);
  const order = [...counts.keys()].sort((a, b) => sizes[a] - fraction * counts[a] - (sizes[b] - fraction * counts[b]));
  for (const k of order) {
    if (missing <= 0 || sizes[k] >= limits[k]) continue;
    sizes[k]++;
    missing--;
  }
  return sizes;
}
