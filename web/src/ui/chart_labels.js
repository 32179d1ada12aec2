/**
 * Names at the ends of the lines, moved apart so that none covers another.
 */

/**
 * Returns the positions of labels, as near to the ends of their lines as they fit.
 * @param {number[]} wanted positions, pixels
 * @param {number} spacing least distance of two
 * @param {number} low
 * @param {number} high
 * @returns {number[]}
 */
export function spread(wanted, spacing, low, high) {
  const order = wanted.map((_, index) => index).sort((a, b) => wanted[a] - wanted[b]);
  const placed = wanted.map((y) => Math.min(Math.max(y, low), high));
  for (let k = 1; k < order.length; k++) {
    placed[order[k]] = Math.max(placed[order[k]], placed[order[k - 1]] + spacing);
  }
  // Those that were pushed out below push back from the bottom.
  for (let k = order.length - 1, limit = high; k >= 0; k--) {
    placed[order[k]] = Math.min(placed[order[k]], limit);
    limit = placed[order[k]] - spacing;
  }
  return placed;
}
