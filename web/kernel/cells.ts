/** Dropout of the hidden state, and normalization over the units. */

/** Dropout masks of step t [H, B], 0 or `kept`, as `reviver.recurrent.dropout` makes them of a seed; B is a multiple of 4. */
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

/** Y = (V - mean) / √(variance + ε) over the rows of each column. */
export function normalize(v: usize, y: usize, row: usize, rows: i32, columns: i32, eps: f32): void {
  for (let end = v + <usize>columns * 4; v < end; v += 16, y += 16) {
    const mean = meanOf(v, v, row, rows, false);
    const scale = scaleOf(v, mean, row, rows, eps);
    for (let u: usize = 0; u < <usize>rows * row; u += row)
      v128.store(y + u, f32x4.div(f32x4.sub(v128.load(v + u), mean), scale));
  }
}

/** The way back: dV from dY, with Y = normalize(V). */
export function normalizeBackward(
  dy: usize,
  y: usize,
  v: usize,
  dv: usize,
  row: usize,
  rows: i32,
  columns: i32,
  eps: f32,
): void {
  for (let end = v + <usize>columns * 4; v < end; v += 16, y += 16, dy += 16, dv += 16) {
    const scale = scaleOf(v, meanOf(v, v, row, rows, false), row, rows, eps);
    const mean = meanOf(dy, dy, row, rows, false);
    const along = meanOf(dy, y, row, rows, true);
    for (let u: usize = 0; u < <usize>rows * row; u += row) {
      const rest = f32x4.sub(v128.load(dy + u), f32x4.add(mean, f32x4.mul(v128.load(y + u), along)));
      v128.store(dv + u, f32x4.div(rest, scale));
    }
  }
}

/** Means over the rows of four columns of A, or of A times B. */
function meanOf(a: usize, b: usize, row: usize, rows: i32, withB: bool): v128 {
  let sum = f32x4.splat(0);
  for (let u: usize = 0; u < <usize>rows * row; u += row)
    sum = f32x4.add(sum, withB ? f32x4.mul(v128.load(a + u), v128.load(b + u)) : v128.load(a + u));
  return f32x4.div(sum, f32x4.splat(<f32>rows));
}

/** √(variance + ε) of four columns. */
function scaleOf(v: usize, mean: v128, row: usize, rows: i32, eps: f32): v128 {
  let squares = f32x4.splat(0);
  for (let u: usize = 0; u < <usize>rows * row; u += row) {
    const d = f32x4.sub(v128.load(v + u), mean);
    squares = f32x4.add(squares, f32x4.mul(d, d));
  }
  return f32x4.sqrt(f32x4.add(f32x4.div(squares, f32x4.splat(<f32>rows)), f32x4.splat(eps)));
}
