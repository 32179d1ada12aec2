/**
 * Numbers as the panel writes them.
 */

/**
 * Writes a number with a true minus sign; tiny and huge ones with a power of ten.
 * @param {number} value
 * @param {number} [digits] after the point
 */
export function formatNumber(value, digits = 3) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "not a number" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const isPlain = size === 0 || (size >= 0.5 * 10 ** -digits && size < 10_000);
  if (isPlain) return value.toFixed(digits).replace("-", "−");
  const [factor, exponent] = value.toExponential(1).split("e");
  return `${factor.replace("-", "−")}·10${superscript(Number(exponent))}`;
}

/**
 * Writes an integer in raised digits.
 * @param {number} value
 */
export const superscript = (value) =>
  [...String(value)].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(sign)])).join("");

/**
 * Writes a term of a sum: a negative one in parentheses.
 * @param {number} value
 */
export const formatTerm = (value) => (value < 0 ? `(${formatNumber(value)})` : formatNumber(value));

/**
 * Writes a probability.
 * @param {number} value
 */
export const formatPercent = (value) => `${(100 * value).toFixed(1)} %`;

/**
 * Writes a limit of a color scale, or a tick, without zeros at its end.
 * @param {number} value
 * @param {number} [digits] significant ones
 */
export const formatLimit = (value, digits = 2) =>
  Math.abs(value) >= 0.001 || value === 0
    ? String(Number(value.toPrecision(digits))).replace("-", "−")
    : formatNumber(value, 2);
