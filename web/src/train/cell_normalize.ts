/** Normalization over the units of each sequence, (v - mean) / √(variance + ε), and its derivative. */
import type { Matrix } from "./memory";

const EPS = 1e-5;

/** Mean over the rows of column n. */
function mean(rows: number, valueOf: (u: number) => number): number {
  let sum = 0;
  for (let u = 0; u < rows; u++) sum += valueOf(u);
  return sum / rows;
}

export function normalize(v: Matrix, y: Matrix, columns: number) {
  const { rows, width, values } = v;
  for (let n = 0; n < columns; n++) {
    const [center, scale] = momentsOf(values, rows, width, n);
    for (let u = 0; u < rows; u++) y.values[u * width + n] = (values[u * width + n] - center) / scale;
  }
}

function momentsOf(values: Float32Array, rows: number, width: number, n: number) {
  const center = mean(rows, (u) => values[u * width + n]);
  const variance = mean(rows, (u) => (values[u * width + n] - center) ** 2);
  return [center, Math.sqrt(variance + EPS)];
}

/** The gradient for v, from that for y = normalize(v). */
export function normalizeGradient(dy: Matrix, y: Matrix, v: Matrix, dv: Matrix, columns: number) {
  const { rows, width } = v;
  const [g, found] = [dy.values, y.values];
  for (let n = 0; n < columns; n++) {
    const [, scale] = momentsOf(v.values, rows, width, n);
    const center = mean(rows, (u) => g[u * width + n]);
    const along = mean(rows, (u) => g[u * width + n] * found[u * width + n]);
    for (let u = 0; u < rows; u++) {
      const k = u * width + n;
      dv.values[k] = (g[k] - center - found[k] * along) / scale;
    }
  }
}
