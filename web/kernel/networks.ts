/**
 * The kernel of trained networks, in AssemblyScript: matrix products forward and to the input, and tanh. compute/kernel.ts
 * explains the layout of the memory.
 *
 * Every row is padded with zeros to a multiple of 4 numbers, and every weight matrix to a multiple of 4 rows. A tile of 4 rows
 * of W and 2 rows of x stays in registers; W is read once for all rows of x. The order of each sum does not depend on the
 * number of rows, so neither do the results. Addresses and strides are in bytes.
 */
import { tanh as tanhOf } from "./functions";

/** Returns the sums of four vectors: [sum a, sum b, sum c, sum d]. */
function sums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}

/** Writes b + the sums of four vectors, y, as max(y, slope · y). */
function finish(out: usize, b: usize, slope: f32, s0: v128, s1: v128, s2: v128, s3: v128): void {
  const y = f32x4.add(v128.load(b), sums(s0, s1, s2, s3));
  v128.store(out, f32x4.max(y, f32x4.mul(y, f32x4.splat(slope))));
}

/**
 * y = max(x Wᵀ + b, slope (x Wᵀ + b)) for 0 ≤ slope ≤ 1. A row of x is `pieces` stretches of `length` bytes, each `gap` bytes
 * after the end of the one before.
 */
export function linear(
  x: usize,
  xStride: usize,
  count: i32,
  length: usize,
  pieces: i32,
  gap: usize,
  W: usize,
  outputs: i32,
  b: usize,
  y: usize,
  yStride: usize,
  slope: f32,
): void {
  const width = length * pieces;
  const end = W + <usize>outputs * width;
  for (; W < end; W += 4 * width, b += 16, y += 16)
    for (let n: i32 = 0; n < count; n += 2) {
      const out = y + <usize>n * yStride;
      let p = x + <usize>n * xStride;
      let w = W;
      let w2 = W + 2 * width;
      let a0 = f32x4.splat(0);
      let a1 = a0;
      let a2 = a0;
      let a3 = a0;
      if (n + 1 < count) {
        let q = p + xStride;
        let c0 = a0;
        let c1 = a0;
        let c2 = a0;
        let c3 = a0;
        for (let piece: i32 = 0; piece < pieces; piece++, p += gap, q += gap)
          for (const last = p + length; p < last; p += 16, q += 16, w += 16, w2 += 16) {
            const u = v128.load(p);
            const v = v128.load(q);
            const k0 = v128.load(w);
            a0 = f32x4.add(a0, f32x4.mul(u, k0));
            c0 = f32x4.add(c0, f32x4.mul(v, k0));
            const k1 = v128.load(w + width);
            a1 = f32x4.add(a1, f32x4.mul(u, k1));
            c1 = f32x4.add(c1, f32x4.mul(v, k1));
            const k2 = v128.load(w2);
            a2 = f32x4.add(a2, f32x4.mul(u, k2));
            c2 = f32x4.add(c2, f32x4.mul(v, k2));
            const k3 = v128.load(w2 + width);
            a3 = f32x4.add(a3, f32x4.mul(u, k3));
            c3 = f32x4.add(c3, f32x4.mul(v, k3));
          }
        finish(out + yStride, b, slope, c0, c1, c2, c3);
      } else
        for (let piece: i32 = 0; piece < pieces; piece++, p += gap)
          for (const last = p + length; p < last; p += 16, w += 16, w2 += 16) {
            const u = v128.load(p);
            a0 = f32x4.add(a0, f32x4.mul(u, v128.load(w)));
            a1 = f32x4.add(a1, f32x4.mul(u, v128.load(w + width)));
            a2 = f32x4.add(a2, f32x4.mul(u, v128.load(w2)));
            a3 = f32x4.add(a3, f32x4.mul(u, v128.load(w2 + width)));
          }
      finish(out, b, slope, a0, a1, a2, a3);
    }
}

/** dx += dy W: adds 4 rows of W at a time, times their numbers of dy. */
export function transposed(
  dy: usize,
  dyStride: usize,
  count: i32,
  W: usize,
  outputs: i32,
  width: usize,
  dx: usize,
  dxStride: usize,
): void {
  const end = W + <usize>outputs * width;
  for (; W < end; W += 4 * width, dy += 16)
    for (let n: i32 = 0; n < count; n++) {
      const g = dy + <usize>n * dyStride;
      const g0 = v128.load32_splat(g);
      const g1 = v128.load32_splat(g, 4);
      const g2 = v128.load32_splat(g, 8);
      const g3 = v128.load32_splat(g, 12);
      let p = dx + <usize>n * dxStride;
      let w = W;
      let w2 = W + 2 * width;
      for (const last = p + width; p < last; p += 16, w += 16, w2 += 16) {
        const upper = f32x4.add(f32x4.mul(g0, v128.load(w)), f32x4.mul(g1, v128.load(w + width)));
        const lower = f32x4.add(f32x4.mul(g2, v128.load(w2)), f32x4.mul(g3, v128.load(w2 + width)));
        v128.store(p, f32x4.add(v128.load(p), f32x4.add(upper, lower)));
      }
    }
}

/** Replaces the numbers of whole rows by their tanh. */
export function tanh(p: usize, end: usize): void {
  for (; p < end; p += 16) v128.store(p, tanhOf(v128.load(p)));
}
