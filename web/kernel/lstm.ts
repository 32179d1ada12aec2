/** A step of the LSTM, and its dropout. */
import { sigmoid, tanh } from "./functions";

const ONE = f32x4.splat(1);

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
