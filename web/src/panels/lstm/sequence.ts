/**
 * Sequences as text and numbers, and what follows from them. The run says what may be typed.
 *
 * Shapes: T time steps, I numbers per step. A sequence is a list of T symbols or of T · I numbers, row by row.
 */
import { capital } from "../../kit/format";
import type { LstmContent } from "../../kit/manifest";
import type { Target } from "../../lstm/trace";

export const MAX_STEPS = 10_000;
const MAX_SIZE = 1e9;
const MAX_LISTED = 12; // Symbols that the message about a wrong one lists

/** Returns the numbers that one step has in a sequence. */
export const channels = ({ inputKind, inputSize }: LstmContent) => (inputKind === "symbols" ? 1 : inputSize);

/** Whether symbols stand side by side, since each has one character. */
const isCompact = (names: string[]) => names.every((name) => [...name].length === 1);

/** Reads what a user typed; there are no values if there is a problem. */
export function parseSequence(content: LstmContent, text: string): { values: number[]; problem: string } {
  const refuse = (problem: string) => ({ values: [], problem });
  const width = channels(content);
  const words = text.split(/[\s,;]+/).filter(Boolean);
  let values: number[];
  if (content.inputKind === "symbols") {
    const names = content.symbolNames;
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
  if (!values.length) return refuse(`type at least one ${content.noun}`);
  return { values: values.slice(0, MAX_STEPS * width), problem: "" };
}

export function formatSequence(content: LstmContent, values: number[]): string {
  if (content.inputKind === "symbols") {
    const names = content.symbolNames;
    return values.map((value) => names[value]).join(isCompact(names) ? "" : " ");
  }
  const width = channels(content);
  const rows = Array.from({ length: values.length / width }, (_, t) => values.slice(t * width, (t + 1) * width));
  return rows.map((row) => row.join(" ")).join(width > 1 ? "\n" : " ");
}

export function fieldLabel(content: LstmContent) {
  if (content.inputKind === "symbols") return `${capital(content.noun)}s that the network reads`;
  return content.inputSize > 1 ? `Numbers, ${content.inputSize} per step` : "Numbers that the network reads";
}

/** Returns a sequence with another value at the start: the next symbol, or a number one standard deviation larger. */
export function changedAtStart(content: LstmContent, [first, ...rest]: number[]): number[] {
  if (content.inputKind === "symbols") return [(first + 1) % content.symbolNames.length, ...rest];
  return [Number((first + (content.standardization?.scale[0] ?? 0.5)).toPrecision(4)), ...rest];
}

const COPY_LENGTH = 10;
const COPY_DELIMITER = 9;

/** What a target is, by the rule of the task, see `Rule` in settings/tasks.py; null if there is none. */
const RULES: Record<NonNullable<LstmContent["rule"]>, (values: number[]) => Target> = {
  palindrome: ([first]) => first,
  parity: (bits) => bits.reduce((sum, bit) => sum + bit, 0) % 2,
  "marked sum": (pairs) => pairs.reduce((sum, value, k) => (k % 2 && value === 1 ? sum + pairs[k - 1] : sum), 0),
  copy(symbols) {
    if (symbols.length <= 2 * COPY_LENGTH || symbols.some((symbol) => symbol > COPY_DELIMITER)) return null;
    const pattern = symbols.slice(0, COPY_LENGTH).map((symbol) => Math.min(symbol, COPY_DELIMITER - 1));
    return [...Array<number>(symbols.length - COPY_LENGTH).fill(0), ...pattern];
  },
  order(symbols) {
    const relevant = symbols.filter((symbol) => symbol === 2 || symbol === 3);
    return relevant.length === 2 ? 2 * (relevant[0] - 2) + relevant[1] - 2 : null;
  },
};

/** Returns the target of a sequence, null if there is none; `chosen` is that of a task without a rule. */
export function targetOf(content: LstmContent, chosen: Target, values: number[]): Target {
  const target = content.rule ? RULES[content.rule](values) : chosen;
  if (target === null || Array.isArray(target) !== (content.target === "class at every step")) return null;
  return Array.isArray(target) && target.length !== values.length ? null : target;
}

/** Whether the digits that the network reads are all but the last of a palindrome, as those of its training. */
export const beginsPalindrome = (values: number[]) =>
  values.every((digit, t) => t === 0 || digit === values[values.length - t]);

/** Returns a sequence to begin with where there is no example: all symbols in turn, or waves. */
export function firstSequence(content: LstmContent, steps: number): number[] {
  const { inputKind, inputSize, symbolNames, standardization } = content;
  if (inputKind === "symbols") return Array.from({ length: steps }, (_, t) => t % symbolNames.length);
  const { mean, scale } = standardization ?? { mean: [], scale: [] };
  return Array.from({ length: steps * inputSize }, (_, k) => {
    const channel = k % inputSize;
    const wave = Math.sin(k / inputSize / 3 + channel);
    return Number(((mean[channel] ?? 0) + (scale[channel] ?? 1) * wave).toPrecision(4));
  });
}
