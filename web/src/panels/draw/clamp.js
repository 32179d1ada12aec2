/**
 * Limits of numbers.
 */

/**
 * Returns the number of an interval that is nearest to x.
 * @param {number} x
 * @param {number} low
 * @param {number} high
 */
export const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
