/**
 * Matrix-vector products and norms in double precision, without allocation.
 */

/**
 * Adds W x to y. Four rows at a time: their sums do not wait for each other.
 * @param {Float64Array} y [R]
 * @param {Float64Array} W [R, C]
 * @param {Float64Array} x holds x [C] from `start`
 * @param {number} start
 * @param {number} columns C
 */
export function addProduct(y, W, x, start, columns) {
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

/**
 * Adds Wᵀ z to y. Four rows at a time, for fewer writes.
 * @param {Float64Array} y holds y [C] from `start`
 * @param {number} start
 * @param {Float64Array} W [R, C]
 * @param {Float64Array} z [R]
 * @param {number} columns C
 */
export function addTransposedProduct(y, start, W, z, columns) {
  const rows = W.length / columns;
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    const [k0, k1, k2, k3] = [r * columns, (r + 1) * columns, (r + 2) * columns, (r + 3) * columns];
    const [z0, z1, z2, z3] = [z[r], z[r + 1], z[r + 2], z[r + 3]];
    for (let c = 0; c < columns; c++) y[start + c] += W[k0 + c] * z0 + W[k1 + c] * z1 + W[k2 + c] * z2 + W[k3 + c] * z3;
  }
  for (; r < rows; r++) for (let c = 0; c < columns; c++) y[start + c] += W[r * columns + c] * z[r];
}

/**
 * Returns the Euclidean norm ‖x‖.
 * @param {Float64Array} x
 */
export function norm(x) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * x[i];
  return Math.sqrt(sum);
}

/**
 * Returns the scalar product of a and b.
 * @param {Float64Array} a
 * @param {Float64Array} b
 */
export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/**
 * Returns softmax(x).
 * @param {Float64Array} x
 */
export function softmax(x) {
  let max = -Infinity;
  for (let i = 0; i < x.length; i++) max = Math.max(max, x[i]);
  const y = x.map((value) => Math.exp(value - max));
  let sum = 0;
  for (let i = 0; i < y.length; i++) sum += y[i];
  return y.map((value) => value / sum);
}

/**
 * Returns the cross-entropy of logits, -log softmax(logits)[target].
 * @param {Float64Array} logits
 * @param {number} target
 */
export function crossEntropy(logits, target) {
  let max = -Infinity;
  for (let i = 0; i < logits.length; i++) max = Math.max(max, logits[i]);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - max);
  return max + Math.log(sum) - logits[target];
}
