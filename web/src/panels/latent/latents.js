/** Interim. */
/** @param {import("../../types.js").GanContent} content @param {number} seed */
export function randomLatent(content, seed) {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const latent = new Float32Array(content.latentSize);
  for (let i = 0; i < content.noiseSize; i++)
    latent[i] = Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  if (content.numClasses) latent[content.noiseSize + (seed % content.numClasses)] = 1;
  return latent;
}

/** @param {Float32Array} a @param {Float32Array} b @param {number} t @param {"linear" | "spherical"} path */
export function pointOn(a, b, t, path) {
  let [u, v] = [1 - t, t];
  if (path === "spherical") {
    let [dot, aa, bb] = [0, 0, 0];
    a.forEach((x, i) => {
      dot += x * b[i];
      aa += x * x;
      bb += b[i] * b[i];
    });
    const omega = Math.acos(Math.min(1, Math.max(-1, dot / Math.sqrt(aa * bb))));
    if (omega > 1e-6 && omega < Math.PI - 1e-6) [u, v] = [Math.sin((1 - t) * omega) / Math.sin(omega), Math.sin(t * omega) / Math.sin(omega)];
  }
  return a.map((x, i) => u * x + v * b[i]);
}
/** @typedef {"linear" | "spherical"} PathKind */
/** @param {Float32Array} x */
export const toHalf = (x) => x.slice();
/** @param {Float32Array} a @param {Float32Array} b @param {PathKind} path @param {number} steps */
export const encodePath = (a, b, path, steps) => `interim-${a.length}-${b.length}-${path}-${steps}`;
/** @param {string | null} code @param {number} size @returns {{ends: Float32Array[], path: PathKind, steps: number} | null} */
export const decodePath = (code, size) => (code === "x" ? { ends: [new Float32Array(size), new Float32Array(size)], path: "linear", steps: 7 } : null);
