/** Dropout of the hidden state. */

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
