/** Matrix-vector products and norms in double precision, without allocation. */

/** Adds W x to y [R], with W [R, columns] and x from `start`. Four rows at a time: their sums do not wait for each other. */
export function addProduct(y: Float64Array, W: Float64Array, x: Float64Array, start: number, columns: number) {
  const rows = W.length / columns;
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    const [k0, k1, k2, k3] = [r * columns, (r + 1) * columns, (r + 2) * columns, (r + 3) * columns];
    let [s0, s1, s2, s3] = [0, 0, 0, 0];
    for (let c = 0; c < columns; c++) {
      const value = x[start + c];
      s0 += W[k0 + c] * value;
      s1 += W[k1 + c] * value;
      s2 += W[k2 + c] * value;
      s3 += W[k3 + c] * value;
    }
    y[r] += s0;
    y[r + 1] += s1;
    y[r + 2] += s2;
    y[r + 3] += s3;
  }
  for (; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += W[r * columns + c] * x[start + c];
    y[r] += sum;
  }
}

/** Adds Wᵀ z to y from `start`, with W [R, columns] and z [R]. Four rows at a time, for fewer writes. */
export function addTransposedProduct(
  y: Float64Array,
  start: number,
  W: Float64Array,
  z: Float64Array,
  columns: number,
) {
  const rows = W.length / columns;
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    const [k0, k1, k2, k3] = [r * columns, (r + 1) * columns, (r + 2) * columns, (r + 3) * columns];
    const [z0, z1, z2, z3] = [z[r], z[r + 1], z[r + 2], z[r + 3]];
    for (let c = 0; c < columns; c++) y[start + c] += W[k0 + c] * z0 + W[k1 + c] * z1 + W[k2 + c] * z2 + W[k3 + c] * z3;
  }
  for (; r < rows; r++) for (let c = 0; c < columns; c++) y[start + c] += W[r * columns + c] * z[r];
}

export const norm = (x: ArrayLike<number>) => Math.sqrt(dot(x, x));

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
