/**
 * A plane in latent space: z = origin + x · across + y · up.
 */

/**
 * @typedef {object} Plane
 * @property {Float32Array} origin [Z]
 * @property {Float32Array} across [Z]
 * @property {Float32Array} up [Z]
 */

/** @typedef {{x: number, y: number}} Point coordinates in a plane */

/**
 * The plane through three latents, which have the coordinates (0, 0), (1, 0) and (0, 1).
 * @param {Float32Array[]} latents
 * @returns {Plane}
 */
export function planeThrough([a, b, c]) {
  return { origin: a, across: b.map((value, i) => value - a[i]), up: c.map((value, i) => value - a[i]) };
}

/**
 * The plane around a latent in two directions.
 * @param {Float32Array} origin
 * @param {Float32Array} directions [2, Z]
 * @returns {Plane}
 */
export function planeAlong(origin, directions) {
  return { origin, across: directions.slice(0, origin.length), up: directions.slice(origin.length, 2 * origin.length) };
}

/**
 * Returns the latent of a point.
 * @param {Plane} plane
 * @param {Point} point
 */
export const latentAt = ({ origin, across, up }, { x, y }) =>
  origin.map((value, i) => value + x * across[i] + y * up[i]);
