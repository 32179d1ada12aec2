/**
 * Interpolation between two latents, as src/reviver/gan/interpolation.py:
 *
 *     linear      lerp(z₀, z₁; t) = (1 - t) z₀ + t z₁
 *     spherical   slerp(z₀, z₁; t) = (sin((1 - t) ω) z₀ + sin(t ω) z₁) / sin ω,   ω the angle between z₀ and z₁
 *
 * Shapes: Z latent size, S points.
 */

export const PATHS = ["linear", "spherical"] as const;
export type PathKind = (typeof PATHS)[number];
/** Radians. For ω nearer to 0 or π than this, sin ω is too small to divide by. */
const SMALL_ANGLE = 1e-6;

/** Returns the points of a path, computed in double precision. */
export function interpolateAt(start: Float32Array, end: Float32Array, t: ArrayLike<number>, path: PathKind) {
  const omega = path === "spherical" ? angle(start, end) : 0;
  if (omega > Math.PI - SMALL_ANGLE) return null;
  const isLinear = !(omega > SMALL_ANGLE); // also if it is NaN, since one end is the origin
  const points = new Float32Array(t.length * start.length);
  for (let k = 0; k < t.length; k++) {
    const startWeight = isLinear ? 1 - t[k] : Math.sin((1 - t[k]) * omega) / Math.sin(omega);
    const endWeight = isLinear ? t[k] : Math.sin(t[k] * omega) / Math.sin(omega);
    for (let i = 0; i < start.length; i++) points[k * start.length + i] = startWeight * start[i] + endWeight * end[i];
  }
  return points;
}

/** Returns the start, evenly spaced points between, and the end. */
export function interpolate(start: Float32Array, end: Float32Array, steps: number, path: PathKind) {
  const count = steps + 2;
  const gap = 1 / (count - 1);
  const t = Array.from({ length: count }, (_, k) => (k < count >> 1 ? gap * k : 1 - gap * (count - 1 - k))); // as PyTorch
  return interpolateAt(start, end, t, path);
}

/** Returns the angle between two vectors in radians, NaN if one is the origin. */
function angle(a: Float32Array, b: Float32Array): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  const cosine = dot / (Math.sqrt(aa) * Math.sqrt(bb));
  return Math.acos(Math.min(1, Math.max(-1, cosine)));
}
