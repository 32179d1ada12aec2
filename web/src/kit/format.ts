/** Numbers and words as the page writes them. */
import { maxIndex as argmax } from "d3-array";

export { argmax };

export type Format = (value: number) => string;

/** A number as charts and tables write it: three digits that matter. */
export const formatNumber = (value: number) =>
  value.toLocaleString("en", Math.abs(value) >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 });

/** A number with a true minus sign, and none before a zero. */
export const signed = (x: number, digits = 2) =>
  x
    .toFixed(digits)
    .replace(/^-(0\.?0*)$/, "$1")
    .replace("-", "−");

/** A number with a true minus sign and fixed decimals; tiny and huge ones with a power of ten. */
export function formatExact(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "not a number" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const isPlain = size === 0 || (size >= 0.5 * 10 ** -digits && size < 10_000);
  if (isPlain) return value.toFixed(digits).replace("-", "−");
  const [factor, exponent] = value.toExponential(1).split("e") as [string, string];
  return `${factor.replace("-", "−")}·10${superscript(Number(exponent))}`;
}

/** A term of a sum: a negative one in parentheses. */
export const formatTerm = (value: number) => (value < 0 ? `(${formatExact(value)})` : formatExact(value));

/** A limit of a color scale, or a tick, without zeros at its end. */
export const formatLimit = (value: number, digits = 2) =>
  Math.abs(value) >= 0.001 || value === 0
    ? String(Number(value.toPrecision(digits))).replace("-", "−")
    : formatExact(value, 2);

export const superscript = (value: number) =>
  [...String(value)].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(sign)])).join("");

/** A number from 0 to 1 with as many digits as it needs, at most three. */
export const shortNumber = (t: number) => String(Math.round(t * 1000) / 1000);

/** A number with at most so many digits that matter, and no zeros at its end. */
export const precise = (value: number, digits: number) => String(Number(value.toPrecision(digits)));

/**
 * A fraction in percent.
 *
 * - `bounded`: of a probability in words, never "0 %" or "100 %" for what is only near it, and without line breaks;
 * - `short`: with three digits that matter, for charts and columns of numbers.
 */
export function percent(p: number, form: "bounded" | "short" = "bounded"): string {
  if (Number.isNaN(p)) return "not a number";
  if (form === "short") return `${(100 * p).toLocaleString("en", { maximumSignificantDigits: 3 })} %`;
  if (p > 0 && p < 0.01) return "<\u00a01\u00a0%";
  if (p < 1 && p > 0.99) return ">\u00a099\u00a0%";
  return `${Math.round(100 * p)}\u00a0%`;
}

/** The most probable class and its probability; no class where all are not a number. */
export function topClass(names: readonly string[], probabilities: ArrayLike<number>): [name: string, part: string] {
  const top = argmax(Array.from(probabilities));
  return [names[top] ?? "no class", percent(probabilities[top] ?? NaN)];
}

export const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** A color of CSS, #rrggbb, as numbers. */
export const parseColor = (text: string) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

export const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);
