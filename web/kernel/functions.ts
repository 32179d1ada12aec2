/** Functions of four numbers, by operations that IEEE 754 rounds exactly. */

const ONE = f32x4.splat(1);

/** exp x = 2^k exp r with k = round(x / ln 2), and a Taylor polynomial to r^7; x is kept within ±87. */
export function exp(x: v128): v128 {
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
export function sigmoid(x: v128): v128 {
  return f32x4.div(ONE, f32x4.add(ONE, exp(f32x4.neg(x))));
}

/** tanh x: near 0 x times a continued fraction in x², else sign(x) (1 - 2 / (exp 2|x| + 1)). */
export function tanh(x: v128): v128 {
  const s = f32x4.mul(x, x);
  const size = f32x4.min(f32x4.abs(x), f32x4.splat(40));
  const far = f32x4.sub(ONE, f32x4.div(f32x4.splat(2), f32x4.add(ONE, exp(f32x4.add(size, size)))));
  const above = f32x4.add(f32x4.splat(945), f32x4.mul(s, f32x4.add(f32x4.splat(105), s)));
  const below = f32x4.add(f32x4.splat(420), f32x4.mul(s, f32x4.splat(15)));
  const near = f32x4.div(f32x4.mul(x, above), f32x4.add(f32x4.splat(945), f32x4.mul(s, below)));
  const signed = v128.or(far, v128.and(x, i32x4.splat(0x80000000)));
  return v128.bitselect(near, signed, f32x4.lt(f32x4.abs(x), f32x4.splat(0.6)));
}

/** log x = k ln 2 + log m, with m from √½ to √2 and log m = 2 artanh((m - 1) / (m + 1)); -∞ at 0, no number below. */
export function log(x: v128): v128 {
  const tiny = f32x4.lt(x, f32x4.splat(1.1754944e-38));
  const y = v128.bitselect(f32x4.mul(x, f32x4.splat(8388608)), x, tiny);
  const up = i32x4.add(y, i32x4.splat(0x004afb0d)); // so that m begins at √½
  const k = i32x4.sub(i32x4.shr_u(up, 23), i32x4.splat(127));
  const m = i32x4.sub(y, i32x4.shl(k, 23));
  const s = f32x4.div(f32x4.sub(m, ONE), f32x4.add(m, ONE));
  const q = f32x4.mul(s, s);
  let p = f32x4.splat(0.22222222);
  p = f32x4.add(f32x4.splat(0.2857143), f32x4.mul(q, p));
  p = f32x4.add(f32x4.splat(0.4), f32x4.mul(q, p));
  p = f32x4.add(f32x4.splat(0.6666667), f32x4.mul(q, p));
  p = f32x4.add(f32x4.splat(2), f32x4.mul(q, p));
  const power = f32x4.sub(f32x4.convert_i32x4_s(k), v128.and(tiny, f32x4.splat(23)));
  const found = f32x4.add(f32x4.mul(power, f32x4.splat(0.6931472)), f32x4.mul(s, p));
  const isZero = f32x4.eq(x, f32x4.splat(0));
  const isBelow = f32x4.lt(x, f32x4.splat(0));
  return v128.or(v128.bitselect(f32x4.splat(-Infinity), found, isZero), isBelow);
}

/** softplus(x) = log(1 + exp x) = max(x, 0) + log(1 + exp(-|x|)). */
export function softplus(x: v128): v128 {
  return f32x4.add(f32x4.max(x, f32x4.splat(0)), log(f32x4.add(ONE, exp(f32x4.neg(f32x4.abs(x))))));
}
