/**
 * Runs a projection a little before every repaint, so that it can be watched.
 */

/** @typedef {import("../../compute/projection.js").Projection} Projection */

/**
 * @typedef {object} SearchOptions
 * @property {boolean} [slow] whether to repaint after every bit of work
 * @property {() => void} [onframe] before every repaint
 * @property {() => void} ondone
 */

/** Milliseconds of computing before a repaint. */
const BUDGET = 12;

/**
 * Works on a projection until it is done. Whoever prefers less motion sees the result alone.
 * @param {Projection} projection
 * @param {SearchOptions} options
 * @returns {() => void} stops the search
 */
export function search(projection, { slow = false, onframe, ondone }) {
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let frame = 0;
  const advance = () => {
    if (projection.advance(slow ? 0 : BUDGET)) return ondone();
    if (!isStill) onframe?.();
    frame = requestAnimationFrame(advance);
  };
  frame = requestAnimationFrame(advance);
  return () => cancelAnimationFrame(frame);
}
