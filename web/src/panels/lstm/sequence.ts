/**
 * Sequences as text and numbers.
 *
 * Shapes: T time steps, I numbers per step. A sequence is a list of T symbols or of T · I numbers, row by row.
 */
import { capital } from "../../kit/format";
import type { LstmContent } from "../../kit/manifest";

export const MAX_STEPS = 10_000;
const MAX_SIZE = 1e9;
const MAX_LISTED = 12; // Symbols that the message about a wrong one lists

/** Returns the numbers that one step has in a sequence. */
export const channels = ({ inputKind, inputSize }: LstmContent) => (inputKind === "symbols" ? 1 : inputSize);

/** Name of one step in texts: "digit", "symbol", "value". */
export function stepNoun({ inputKind, task }: LstmContent) {
  if (inputKind === "numbers") return "value";
  return task === "palindrome" ? "digit" : task === "parity" ? "bit" : "symbol";
}

export const symbols = ({ symbolNames, encoding, inputSize }: LstmContent) =>
  symbolNames ?? Array.from({ length: encoding === "onehot" ? inputSize : 10 }, (_, k) => String(k));

export const classNames = ({ classNames: names, outputSize }: LstmContent) =>
  names ?? Array.from({ length: outputSize }, (_, k) => String(k));

/** Whether symbols stand side by side, since each has one character. */
const isCompact = (names: string[]) => names.every((name) => [...name].length === 1);

/** Reads what a user typed; there are no values if there is a problem. */
export function parseSequence(content: LstmContent, text: string): { values: number[]; problem: string } {
  const refuse = (problem: string) => ({ values: [], problem });
  const width = channels(content);
  const words = text.split(/[\s,;]+/).filter(Boolean);
  let values: number[];
  if (content.inputKind === "symbols") {
    const names = symbols(content);
    const parts = isCompact(names) ? [...words.join("")] : words;
    const index = new Map(names.map((name, k) => [name, k]));
    const unknown = parts.find((part) => !index.has(part));
    if (unknown !== undefined) {
      const allowed = names.slice(0, MAX_LISTED).join(" ") + (names.length > MAX_LISTED ? " …" : "");
      return refuse(`“${unknown.slice(0, 20)}” is not one of ${allowed}`);
    }
    values = parts.map((part) => index.get(part)!);
  } else {
    values = words.map((word) => Number(word.replace("−", "-")));
    const wrong = values.findIndex((value) => !(Math.abs(value) <= MAX_SIZE));
    if (wrong >= 0) return refuse(`“${words[wrong].slice(0, 20)}” is not a number`);
    if (values.length % width)
      return refuse(`each step has ${width} numbers; ${values.length} is not a multiple of ${width}`);
  }
  if (!values.length) return refuse(`type at least one ${stepNoun(content)}`);
  return { values: values.slice(0, MAX_STEPS * width), problem: "" };
}

/** Writes a sequence as a user would type it. */
export function formatSequence(content: LstmContent, values: number[]): string {
  if (content.inputKind === "symbols") {
    const names = symbols(content);
    return values.map((value) => names[value]).join(isCompact(names) ? "" : " ");
  }
  const width = channels(content);
  const rows = Array.from({ length: values.length / width }, (_, t) => values.slice(t * width, (t + 1) * width));
  return rows.map((row) => row.join(" ")).join(width > 1 ? "\n" : " ");
}

export function fieldLabel(content: LstmContent) {
  if (content.inputKind === "symbols") return `${capital(stepNoun(content))}s that the network reads`;
  return content.inputSize > 1 ? `Numbers, ${content.inputSize} per step` : "Numbers that the network reads";
}

/** Returns a sequence with another value at the start: the next symbol, or a number one standard deviation larger. */
export function changedAtStart(content: LstmContent, [first, ...rest]: number[]): number[] {
  if (content.inputKind === "symbols") return [(first + 1) % symbols(content).length, ...rest];
  return [Number((first + (content.standardization?.scale[0] ?? 0.5)).toPrecision(4)), ...rest];
}
