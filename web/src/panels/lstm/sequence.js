/**
 * Sequences as text and numbers: what a user types, random sequences of the generated tasks, and their targets.
 *
 * Shapes: T time steps, I numbers per step. A sequence is a list of T symbols or of T · I numbers, row by row.
 */

/** @typedef {import("../../types.js").LstmContent} LstmContent */
/** @typedef {number | number[] | null} Target */

export const MAX_STEPS = 10_000;
const MAX_SIZE = 1e9;
const COPY_LENGTH = 10;
const COPY_DELIMITER = 9;

/**
 * Returns the numbers that one step has in a sequence.
 * @param {LstmContent} content
 */
export const channels = (content) => (content.inputKind === "symbols" ? 1 : content.inputSize);

/**
 * Name of one step in texts: "digit", "symbol", "value".
 * @param {LstmContent} content
 */
export function stepNoun(content) {
  if (content.inputKind === "numbers") return "value";
  if (content.task === "palindrome") return "digit";
  return content.task === "parity" ? "bit" : "symbol";
}

/**
 * Names of the symbols.
 * @param {LstmContent} content
 */
export const symbols = (content) =>
  content.symbolNames ??
  Array.from({ length: content.encoding === "onehot" ? content.inputSize : 10 }, (_, k) => String(k));

/**
 * Reads what a user typed.
 * @param {LstmContent} content
 * @param {string} text
 * @returns {{values: number[], problem: string}} without values if there is a problem
 */
export function parseSequence(content, text) {
  return content.inputKind === "symbols" ? parseSymbols(content, text) : parseNumbers(content, text);
}

/**
 * @param {LstmContent} content
 * @param {string} text
 */
function parseSymbols(content, text) {
  const names = symbols(content);
  const isCompact = names.every((name) => [...name].length === 1);
  const parts = isCompact ? [...text].filter((part) => !/[\s,;]/.test(part)) : text.split(/[\s,;]+/).filter(Boolean);
  const index = new Map(names.map((name, k) => [name, k]));
  const unknown = parts.find((part) => !index.has(part));
  if (unknown !== undefined) {
    const allowed = names.length > 12 ? `${names.slice(0, 12).join(" ")} …` : names.join(" ");
    return refuse(`“${unknown.slice(0, 20)}” is not one of ${allowed}`);
  }
  return checkLength(
    parts.map((part) => /** @type {number} */ (index.get(part))),
    1,
    stepNoun(content),
  );
}

/**
 * @param {LstmContent} content
 * @param {string} text
 */
function parseNumbers(content, text) {
  const width = channels(content);
  const parts = text.split(/[\s,;]+/).filter(Boolean);
  const values = parts.map((part) => Number(part.replace("−", "-")));
  const wrong = values.findIndex((value) => !(Math.abs(value) <= MAX_SIZE));
  if (wrong >= 0) return refuse(`“${parts[wrong].slice(0, 20)}” is not a number`);
  if (values.length % width)
    return refuse(`each step has ${width} numbers; ${values.length} is not a multiple of ${width}`);
  return checkLength(values, width, "value");
}

/**
 * @param {number[]} values
 * @param {number} width
 * @param {string} noun
 */
function checkLength(values, width, noun) {
  if (!values.length) return refuse(`type at least one ${noun}`);
  return { values: values.slice(0, MAX_STEPS * width), problem: "" };
}

/**
 * @param {string} problem
 * @returns {{values: number[], problem: string}}
 */
const refuse = (problem) => ({ values: [], problem });

/**
 * Writes a sequence as a user would type it.
 * @param {LstmContent} content
 * @param {number[]} values
 */
export function formatSequence(content, values) {
  if (content.inputKind === "symbols") {
    const names = symbols(content);
    return values.map((value) => names[value]).join(names.every((name) => [...name].length === 1) ? "" : " ");
  }
  const width = channels(content);
  const rows = Array.from({ length: values.length / width }, (_, t) =>
    values.slice(t * width, (t + 1) * width).join(" "),
  );
  return rows.join(width > 1 ? "\n" : " ");
}

/**
 * Whether the page can make new sequences of this task.
 * @param {LstmContent} content
 */
export const isGenerated = (content) => content.inputKind === "symbols" || content.task === "adding";

/**
 * Returns a random sequence of the task.
 * @param {LstmContent} content
 * @param {number} steps T
 * @param {() => number} [random] uniform in [0, 1)
 * @returns {number[]}
 */
export function randomSequence(content, steps, random = Math.random) {
  /** @param {number} count */
  const below = (count) => Math.floor(random() * count);
  const count = symbols(content).length;
  if (content.task === "palindrome") return randomPalindrome(steps, () => below(10));
  if (content.task === "copy") {
    const pattern = Array.from({ length: COPY_LENGTH }, () => 1 + below(8));
    const blanks = Math.max(steps - 2 * COPY_LENGTH, 1);
    const values = [...pattern, .../** @type {number[]} */ (Array(blanks + COPY_LENGTH).fill(0))];
    values[COPY_LENGTH + blanks - 1] = COPY_DELIMITER;
    return values;
  }
  if (content.task === "adding") return randomSums(steps, random);
  if (content.task === "temporal-order" && steps >= 10) {
    const values = Array.from({ length: steps }, () => 4 + below(4));
    values[0] = 0;
    values[steps - 1] = 1;
    values[Math.max(1, Math.floor(steps / 10))] = 2 + below(2);
    values[Math.floor(steps / 2)] = 2 + below(2);
    return values;
  }
  if (content.inputKind === "symbols") return Array.from({ length: steps }, () => below(count));
  const { mean, scale } = content.standardization ?? { mean: [], scale: [] };
  return Array.from({ length: steps * content.inputSize }, (_, k) => {
    const channel = k % content.inputSize;
    const wave = Math.sin(k / content.inputSize / 3 + channel);
    return Number(((mean[channel] ?? 0) + (scale[channel] ?? 1) * wave).toPrecision(4));
  });
}

/**
 * All but the last digit of a palindrome of `steps` + 1 digits.
 * @param {number} steps
 * @param {() => number} digit
 */
function randomPalindrome(steps, digit) {
  const length = steps + 1;
  const half = Array.from({ length: Math.ceil(length / 2) }, digit);
  return Array.from({ length: steps }, (_, t) => half[Math.min(t, length - 1 - t)]);
}

/**
 * Pairs (number, mark) of the adding problem.
 * @param {number} steps
 * @param {() => number} random
 */
function randomSums(steps, random) {
  const half = Math.floor(steps / 2);
  const marked = [Math.floor(random() * Math.max(half, 1)), half + Math.floor(random() * (steps - half))];
  return Array.from({ length: steps }, (_, t) => [Number(random().toFixed(2)), marked.includes(t) ? 1 : 0]).flat();
}

/**
 * Whether the target of any sequence follows from the sequence.
 * @param {LstmContent} content
 */
export const hasRule = (content) => ["palindrome", "copy", "adding", "temporal-order", "parity"].includes(content.task);

/**
 * Returns the target that the task gives to a sequence; null if it gives none.
 * @param {LstmContent} content
 * @param {number[]} values
 * @returns {Target}
 */
export function ruleTarget(content, values) {
  const steps = values.length / channels(content);
  if (content.task === "palindrome") return values[0];
  if (content.task === "parity") return values.reduce((sum, bit) => sum + bit, 0) % 2;
  if (content.task === "adding")
    return values.reduce((sum, value, k) => (k % 2 && value === 1 ? sum + values[k - 1] : sum), 0);
  if (content.task === "copy") {
    if (steps <= 2 * COPY_LENGTH || values.some((symbol) => symbol >= COPY_DELIMITER + 1)) return null;
    const pattern = values.slice(0, COPY_LENGTH).map((symbol) => Math.min(symbol, COPY_DELIMITER - 1));
    return [.../** @type {number[]} */ (Array(steps - COPY_LENGTH).fill(0)), ...pattern];
  }
  if (content.task === "temporal-order") {
    const relevant = values.filter((symbol) => symbol === 2 || symbol === 3);
    return relevant.length === 2 ? 2 * (relevant[0] - 2) + relevant[1] - 2 : null;
  }
  return null;
}

/**
 * Whether the digits that the network reads are all but the last of a palindrome, as those of its training.
 * @param {number[]} values
 */
export const beginsPalindrome = (values) => values.every((digit, t) => t === 0 || digit === values[values.length - t]);

/**
 * Returns a sequence with another value at a place: the next symbol, or a number one standard deviation larger.
 * @param {LstmContent} content
 * @param {number[]} values
 * @param {number} index
 */
export function changedAt(content, values, index) {
  const changed = [...values];
  if (content.inputKind === "symbols") changed[index] = (changed[index] + 1) % symbols(content).length;
  else changed[index] = Number((changed[index] + (content.standardization?.scale[0] ?? 0.5)).toPrecision(4));
  return changed;
}
