/** Products and sums of matrices. Addresses and strides are in bytes; activations are [features, batch]. */

/** Rows of A and terms of a sum in a block: A stays in the second cache meanwhile, 8 columns of B in the first. */
const ROWS: i32 = 32;
const TERMS: i32 = 128;

/** C [M, N] += A [M, K] B [K, N]: M a multiple of 4, N of 8. A has strides of rows and columns, so that it may be transposed. */
export function product(
  a: usize,
  aRow: usize,
  aColumn: usize,
  b: usize,
  bRow: usize,
  c: usize,
  cRow: usize,
  M: i32,
  K: i32,
  N: i32,
): void {
  for (let k: i32 = 0; k < K; k += TERMS) {
    const terms = min(TERMS, K - k);
    for (let i: i32 = 0; i < M; i += ROWS) {
      const p = a + <usize>i * aRow + <usize>k * aColumn;
      const q = b + <usize>k * bRow;
      block(p, aRow, aColumn, q, bRow, c + <usize>i * cRow, cRow, min(ROWS, M - i), terms, N);
    }
  }
}

/** The same of a block. The sums do not depend on the blocks: each is in a register, or in C meanwhile. */
function block(
  a: usize,
  aRow: usize,
  aColumn: usize,
  b: usize,
  bRow: usize,
  c: usize,
  cRow: usize,
  M: i32,
  K: i32,
  N: i32,
): void {
  for (let j: usize = 0; j < <usize>N * 4; j += 32) {
    for (let i: i32 = 0; i < M; i += 4) {
      const p0 = c + <usize>i * cRow + j;
      const p1 = p0 + cRow;
      const p2 = p1 + cRow;
      const p3 = p2 + cRow;
      let c00 = v128.load(p0);
      let c01 = v128.load(p0, 16);
      let c10 = v128.load(p1);
      let c11 = v128.load(p1, 16);
      let c20 = v128.load(p2);
      let c21 = v128.load(p2, 16);
      let c30 = v128.load(p3);
      let c31 = v128.load(p3, 16);
      let q = b + j;
      let s0 = a + <usize>i * aRow;
      let s1 = s0 + aRow;
      let s2 = s1 + aRow;
      let s3 = s2 + aRow;
      for (let k: i32 = 0; k < K; k++) {
        const u = v128.load(q);
        const v = v128.load(q, 16);
        const w0 = v128.load32_splat(s0);
        c00 = f32x4.add(c00, f32x4.mul(w0, u));
        c01 = f32x4.add(c01, f32x4.mul(w0, v));
        const w1 = v128.load32_splat(s1);
        c10 = f32x4.add(c10, f32x4.mul(w1, u));
        c11 = f32x4.add(c11, f32x4.mul(w1, v));
        const w2 = v128.load32_splat(s2);
        c20 = f32x4.add(c20, f32x4.mul(w2, u));
        c21 = f32x4.add(c21, f32x4.mul(w2, v));
        const w3 = v128.load32_splat(s3);
        c30 = f32x4.add(c30, f32x4.mul(w3, u));
        c31 = f32x4.add(c31, f32x4.mul(w3, v));
        q += bRow;
        s0 += aColumn;
        s1 += aColumn;
        s2 += aColumn;
        s3 += aColumn;
      }
      v128.store(p0, c00);
      v128.store(p0, c01, 16);
      v128.store(p1, c10);
      v128.store(p1, c11, 16);
      v128.store(p2, c20);
      v128.store(p2, c21, 16);
      v128.store(p3, c30);
      v128.store(p3, c31, 16);
    }
  }
}

/** B [N, M] = transposed A [M, N], M and N multiples of 4. */
export function transpose(a: usize, aRow: usize, b: usize, bRow: usize, M: i32, N: i32): void {
  for (let i: usize = 0; i < <usize>M; i += 4)
    for (let j: usize = 0; j < <usize>N; j += 4) {
      const p = a + i * aRow + j * 4;
      const q = b + j * bRow + i * 4;
      const r0 = v128.load(p);
      const r1 = v128.load(p + aRow);
      const r2 = v128.load(p + 2 * aRow);
      const r3 = v128.load(p + 3 * aRow);
      const t0 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
      const t1 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
      const t2 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
      const t3 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
      v128.store(q, v128.shuffle<f32>(t0, t2, 0, 1, 4, 5));
      v128.store(q + bRow, v128.shuffle<f32>(t0, t2, 2, 3, 6, 7));
      v128.store(q + 2 * bRow, v128.shuffle<f32>(t1, t3, 0, 1, 4, 5));
      v128.store(q + 3 * bRow, v128.shuffle<f32>(t1, t3, 2, 3, 6, 7));
    }
}

/** Sets the first `columns` of all rows of Y to the numbers of b, one for each row. */
export function broadcast(b: usize, y: usize, yRow: usize, rows: i32, columns: i32): void {
  for (let i: i32 = 0; i < rows; i++, b += 4, y += yRow) {
    const value = v128.load32_splat(b);
    for (let p = y; p < y + <usize>columns * 4; p += 16) v128.store(p, value);
  }
}

/** The sum of four numbers. */
export function sum(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/** s += the sums of the rows of Y. */
export function rowSums(y: usize, yRow: usize, s: usize, rows: i32, columns: i32): void {
  for (let i: i32 = 0; i < rows; i++, s += 4, y += yRow) {
    let total = f32x4.splat(0);
    for (let p = y; p < y + <usize>columns * 4; p += 16) total = f32x4.add(total, v128.load(p));
    store<f32>(s, load<f32>(s) + sum(total));
  }
}

/** Returns the sum of the squares of a range. */
export function squares(p: usize, end: usize): f64 {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  for (; p < end; p += 16) {
    const v = v128.load(p);
    const a = f64x2.promote_low_f32x4(v);
    const b = f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3));
    low = f64x2.add(low, f64x2.mul(a, a));
    high = f64x2.add(high, f64x2.mul(b, b));
  }
  const total = f64x2.add(low, high);
  return f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1);
}

/** Multiplies a range by a number. */
export function scale(p: usize, end: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  for (; p < end; p += 16) v128.store(p, f32x4.mul(v128.load(p), f));
}
