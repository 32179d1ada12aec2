/** What the page knows of the generated tasks: the targets of what a user types, and random sequences. */
import type { LstmContent } from "../../kit/manifest";
import type { Target } from "../../lstm/trace";
import { channels, symbols } from "./sequence";

const COPY_LENGTH = 10;
const COPY_DELIMITER = 9;

/** Whether the target of any sequence follows from the sequence. */
export const hasRule = ({ task }: LstmContent) =>
  ["palindrome", "copy", "adding", "temporal-order", "parity"].includes(task);

/** Returns the target that the task gives to a sequence; null if it gives none. */
function ruleTarget(content: LstmContent, values: number[]): Target {
  switch (content.task) {
    case "palindrome":
      return values[0];
    case "parity":
      return values.reduce((sum, bit) => sum + bit, 0) % 2;
    case "adding":
      return values.reduce((sum, value, k) => (k % 2 && value === 1 ? sum + values[k - 1] : sum), 0);
    case "copy": {
      if (values.length <= 2 * COPY_LENGTH || values.some((symbol) => symbol > COPY_DELIMITER)) return null;
      const pattern = values.slice(0, COPY_LENGTH).map((symbol) => Math.min(symbol, COPY_DELIMITER - 1));
      return [...Array<number>(values.length - COPY_LENGTH).fill(0), ...pattern];
    }
    default: {
      const relevant = values.filter((symbol) => symbol === 2 || symbol === 3); // of the temporal order
      return relevant.length === 2 ? 2 * (relevant[0] - 2) + relevant[1] - 2 : null;
    }
  }
}

/** Returns the target of a sequence, null if there is none; `chosen` is that of a task without a rule. */
export function targetOf(content: LstmContent, chosen: Target, values: number[]): Target {
  const target = hasRule(content) ? ruleTarget(content, values) : chosen;
  if (target === null || Array.isArray(target) !== (content.target === "class at every step")) return null;
  return Array.isArray(target) && target.length !== values.length ? null : target;
}

/** Whether the digits that the network reads are all but the last of a palindrome, as those of its training. */
export const beginsPalindrome = (values: number[]) =>
  values.every((digit, t) => t === 0 || digit === values[values.length - t]);

/** Whether the page can make new sequences of this task. */
export const isGenerated = ({ inputKind, task }: LstmContent) => inputKind === "symbols" || task === "adding";

const below = (count: number) => Math.floor(Math.random() * count);

/** Returns a random sequence of the task; of numbers that nobody generates, waves. */
export function randomSequence(content: LstmContent, steps: number): number[] {
  const { task, inputKind, inputSize, standardization } = content;
  const fill = (make: (t: number) => number) => Array.from({ length: steps }, (_, t) => make(t));
  if (task === "palindrome") {
    const half = fill(() => below(10));
    return fill((t) => half[Math.min(t, steps - t)]); // all but the last digit of steps + 1
  }
  if (task === "copy") {
    const blanks = Math.max(steps - 2 * COPY_LENGTH, 1);
    const pattern = Array.from({ length: COPY_LENGTH }, () => 1 + below(8));
    const rest = [...Array<number>(blanks - 1).fill(0), COPY_DELIMITER, ...Array<number>(COPY_LENGTH).fill(0)];
    return [...pattern, ...rest];
  }
  if (task === "adding") {
    const half = Math.floor(steps / 2);
    const marked = [below(Math.max(half, 1)), half + below(steps - half)];
    return Array.from({ length: steps }, (_, t) => [
      Number(Math.random().toFixed(2)),
      Number(marked.includes(t)),
    ]).flat();
  }
  if (task === "temporal-order" && steps >= 10) {
    const values = fill(() => 4 + below(4));
    [values[0], values[steps - 1]] = [0, 1];
    for (const place of [steps / 10, steps / 2]) values[Math.floor(place)] = 2 + below(2);
    return values;
  }
  if (inputKind === "symbols") return fill(() => below(symbols(content).length));
  const { mean, scale } = standardization ?? { mean: [], scale: [] };
  return Array.from({ length: steps * channels(content) }, (_, k) => {
    const channel = k % inputSize;
    const wave = Math.sin(k / inputSize / 3 + channel);
    return Number(((mean[channel] ?? 0) + (scale[channel] ?? 1) * wave).toPrecision(4));
  });
}
