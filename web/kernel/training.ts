/**
 * The kernel of training, in AssemblyScript: matrix products, and what is done number by number, in single precision with SIMD.
 *
 * All is IEEE 754 arithmetic in a fixed order, so that every engine gives the same bits. Addresses and strides are in bytes.
 * Activations are [features, batch], rows of a multiple of 8 numbers; all ranges are multiples of 16 bytes.
 */

const ZERO = f32x4.splat(0);
const ONE = f32x4.splat(1);

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
function sum(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/** s += the sums of the rows of Y. */
export function rowSums(y: usize, yRow: usize, s: usize, rows: i32, columns: i32): void {
  for (let i: i32 = 0; i < rows; i++, s += 4, y += yRow) {
    let total = ZERO;
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

/** exp x = 2^k exp r with k = round(x / ln 2), and a Taylor polynomial to r^7; x is kept within ±87. */
function exp(x: v128): v128 {
  x = f32x4.min(f32x4.max(x, f32x4.splat(-87)), f32x4.splat(87));
  const k = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.4426950408889634)));
  let r = f32x4.sub(x, f32x4.mul(k, f32x4.splat(0.693359375)));
  r = f32x4.add(r, f32x4.mul(k, f32x4.splat(2.1219444e-4)));
  let y = f32x4.splat(0.0001984127);
  y = f32x4.add(f32x4.splat(0.0013888889), f32x4.mul(r, y));
  y = f32x4.add(f32x4.splat(0.008333334), f32x4.mul(r, y));
  y = f32x4.add(f32x4.splat(0.041666668), f32x4.mul(r, y));
  y = f32x4.add(f32x4.splat(0.16666667), f32x4.mul(r, y));
  y = f32x4.add(f32x4.splat(0.5), f32x4.mul(r, y));
  y = f32x4.add(ONE, f32x4.mul(r, y));
  y = f32x4.add(ONE, f32x4.mul(r, y));
  return f32x4.mul(y, i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(k), i32x4.splat(127)), 23));
}

/** σ(x) = 1 / (1 + exp(-x)). */
function sigmoid(x: v128): v128 {
  return f32x4.div(ONE, f32x4.add(ONE, exp(f32x4.neg(x))));
}

/** tanh x: near 0 x times a continued fraction in x², else sign(x) (1 - 2 / (exp 2|x| + 1)). */
function tanh(x: v128): v128 {
  const s = f32x4.mul(x, x);
  const size = f32x4.min(f32x4.abs(x), f32x4.splat(40));
  const far = f32x4.sub(ONE, f32x4.div(f32x4.splat(2), f32x4.add(ONE, exp(f32x4.add(size, size)))));
  const above = f32x4.add(f32x4.splat(945), f32x4.mul(s, f32x4.add(f32x4.splat(105), s)));
  const below = f32x4.add(f32x4.splat(420), f32x4.mul(s, f32x4.splat(15)));
  const near = f32x4.div(f32x4.mul(x, above), f32x4.add(f32x4.splat(945), f32x4.mul(s, below)));
  const signed = v128.or(far, v128.and(x, i32x4.splat(0x80000000)));
  return v128.bitselect(near, signed, f32x4.lt(f32x4.abs(x), f32x4.splat(0.6)));
}

/**
 * A step of an LSTM for a range of H · B numbers: Z [4, H, B] becomes the gates i, f, g, o; then c = f c' + i g, u = tanh c,
 * h = m o u. The matrices of the state before and after have the same size.
 */
export function lstmForward(z: usize, size: usize, before: usize, c: usize, u: usize, m: usize, h: usize): void {
  for (let p: usize = 0; p < size; p += 16) {
    const q = z + p;
    const i = sigmoid(v128.load(q));
    const f = sigmoid(v128.load(q + size));
    const g = tanh(v128.load(q + 2 * size));
    const o = sigmoid(v128.load(q + 3 * size));
    v128.store(q, i);
    v128.store(q + size, f);
    v128.store(q + 2 * size, g);
    v128.store(q + 3 * size, o);
    const state = f32x4.add(f32x4.mul(f, v128.load(before + p)), f32x4.mul(i, g));
    const output = tanh(state);
    v128.store(c + p, state);
    v128.store(u + p, output);
    v128.store(h + p, f32x4.mul(v128.load(m + p), f32x4.mul(o, output)));
  }
}

/** The way back: the gates in Z become ∂loss/∂z, dc that of the state before; dh is ∂loss/∂h. */
export function lstmBackward(z: usize, size: usize, before: usize, u: usize, m: usize, dh: usize, dc: usize): void {
  for (let p: usize = 0; p < size; p += 16) {
    const q = z + p;
    const i = v128.load(q);
    const f = v128.load(q + size);
    const g = v128.load(q + 2 * size);
    const o = v128.load(q + 3 * size);
    const output = v128.load(u + p);
    const d = f32x4.mul(v128.load(m + p), v128.load(dh + p));
    const slope = f32x4.sub(ONE, f32x4.mul(output, output));
    const state = f32x4.add(v128.load(dc + p), f32x4.mul(f32x4.mul(d, o), slope));
    v128.store(q, f32x4.mul(f32x4.mul(state, g), f32x4.mul(i, f32x4.sub(ONE, i))));
    v128.store(q + size, f32x4.mul(f32x4.mul(state, v128.load(before + p)), f32x4.mul(f, f32x4.sub(ONE, f))));
    v128.store(q + 2 * size, f32x4.mul(f32x4.mul(state, i), f32x4.sub(ONE, f32x4.mul(g, g))));
    v128.store(q + 3 * size, f32x4.mul(f32x4.mul(d, output), f32x4.mul(o, f32x4.sub(ONE, o))));
    v128.store(dc + p, f32x4.mul(state, f));
  }
}

/** Dropout masks of step t [H, B], 0 or `kept`, as `reviver.lstm.dropout` makes them of a seed; B is a multiple of 4. */
export function masks(seed: u64, t: u64, m: usize, mRow: usize, H: i32, B: i32, threshold: u32, kept: f32): void {
  for (let b: i32 = 0; b < B; b += 4, m += 16) {
    const z0 = rowKey(seed, t, b);
    const z1 = rowKey(seed, t, b + 1);
    const z2 = rowKey(seed, t, b + 2);
    const z3 = rowKey(seed, t, b + 3);
    let low = i32x4.splat(<i32>z0);
    low = i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(low, 1, <i32>z1), 2, <i32>z2), 3, <i32>z3);
    let high = i32x4.splat(<i32>(z0 >> 32));
    high = i32x4.replace_lane(high, 1, <i32>(z1 >> 32));
    high = i32x4.replace_lane(i32x4.replace_lane(high, 2, <i32>(z2 >> 32)), 3, <i32>(z3 >> 32));
    for (let unit: i32 = 0; unit < H; unit++) {
      let x = i32x4.add(i32x4.splat(unit * 0x9e3779b9), low);
      x = i32x4.add(i32x4.mul(v128.xor(x, i32x4.shr_u(x, 16)), i32x4.splat(0x21f0aaad)), high);
      x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 15)), i32x4.splat(0xd35a2d97));
      const isKept = i32x4.ge_u(v128.xor(x, i32x4.shr_u(x, 15)), i32x4.splat(threshold));
      v128.store(m + <usize>unit * mRow, v128.and(isKept, f32x4.splat(kept)));
    }
  }
}

/** Output t · 2³² + b of SplitMix64 (Steele, Lea & Flood 2014) seeded with `seed`. */
function rowKey(seed: u64, t: u64, b: i32): u64 {
  let z = seed + ((t << 32) + <u64>b + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

/** RMSprop (Tieleman & Hinton 2012) of a range of weights w with gradients g: v = α v + (1 - α) g², w -= lr g / (√v + ε). */
export function rmsprop(w: usize, size: usize, g: usize, v: usize, lr: f32, alpha: f32, beta: f32, eps: f32): void {
  for (let p: usize = 0; p < size; p += 16) {
    const d = v128.load(g + p);
    const mean = f32x4.add(
      f32x4.mul(f32x4.splat(alpha), v128.load(v + p)),
      f32x4.mul(f32x4.mul(f32x4.splat(beta), d), d),
    );
    const below = f32x4.add(f32x4.sqrt(mean), f32x4.splat(eps));
    v128.store(v + p, mean);
    v128.store(w + p, f32x4.sub(v128.load(w + p), f32x4.mul(f32x4.splat(lr), f32x4.div(d, below))));
  }
}

/**
 * Adam (Kingma & Ba 2015): m += (1 - β₁) (g - m), v = β₂ v + (1 - β₂) g², w -= rate m / (√v / root + ε), where rate and root
 * correct for the start.
 */
export function adam(
  w: usize,
  size: usize,
  g: usize,
  m: usize,
  v: usize,
  rate: f32,
  root: f32,
  c1: f32,
  b2: f32,
  c2: f32,
  eps: f32,
): void {
  for (let p: usize = 0; p < size; p += 16) {
    const d = v128.load(g + p);
    const before = v128.load(m + p);
    const mean = f32x4.add(before, f32x4.mul(f32x4.splat(c1), f32x4.sub(d, before)));
    const square = f32x4.add(f32x4.mul(f32x4.splat(b2), v128.load(v + p)), f32x4.mul(f32x4.mul(f32x4.splat(c2), d), d));
    const below = f32x4.add(f32x4.div(f32x4.sqrt(square), f32x4.splat(root)), f32x4.splat(eps));
    v128.store(m + p, mean);
    v128.store(v + p, square);
    v128.store(w + p, f32x4.sub(v128.load(w + p), f32x4.div(f32x4.mul(f32x4.splat(rate), mean), below)));
  }
}
