/** LeakyReLU, tanh and BatchNorm; `slope` is that of LeakyReLU below 0. */
import { tanh } from "./functions";
import { sum } from "./matrices";

const ZERO = f32x4.splat(0);
const ONE = f32x4.splat(1);

function leakyOf(x: v128, slope: f32): v128 {
  return f32x4.max(x, f32x4.mul(x, f32x4.splat(slope)));
}

/** The gradient d where y is positive, else d times the slope. */
function leakyGradient(d: v128, y: v128, slope: f32): v128 {
  return v128.bitselect(d, f32x4.mul(d, f32x4.splat(slope)), f32x4.gt(y, ZERO));
}

/** Replaces the first columns of Y by their LeakyReLU. */
export function leaky(y: usize, yRow: usize, rows: i32, columns: i32, slope: f32): void {
  for (let i: i32 = 0; i < rows; i++, y += yRow)
    for (let p = y; p < y + <usize>columns * 4; p += 16) v128.store(p, leakyOf(v128.load(p), slope));
}

/** D becomes the gradient before LeakyReLU, whose results are Y. */
export function leakyBackward(d: usize, dRow: usize, y: usize, yRow: usize, rows: i32, columns: i32, slope: f32): void {
  for (let i: i32 = 0; i < rows; i++, d += dRow, y += yRow)
    for (let p: usize = 0; p < <usize>columns * 4; p += 16)
      v128.store(d + p, leakyGradient(v128.load(d + p), v128.load(y + p), slope));
}

/** Y = (X - m) s in the first columns, with a number of m for each row, m = 0 at the address 0. */
export function center(
  x: usize,
  xRow: usize,
  y: usize,
  yRow: usize,
  rows: i32,
  columns: i32,
  mean: usize,
  scale: f32,
): void {
  const s = f32x4.splat(scale);
  for (let i: i32 = 0; i < rows; i++, x += xRow, y += yRow) {
    const m = mean ? v128.load32_splat(mean + <usize>i * 4) : ZERO;
    for (let p: usize = 0; p < <usize>columns * 4; p += 16)
      v128.store(y + p, f32x4.mul(f32x4.sub(v128.load(x + p), m), s));
  }
}

/** Replaces the first columns of Y by their tanh. */
export function tanhForward(y: usize, yRow: usize, rows: i32, columns: i32): void {
  for (let i: i32 = 0; i < rows; i++, y += yRow)
    for (let p = y; p < y + <usize>columns * 4; p += 16) v128.store(p, tanh(v128.load(p)));
}

/** D becomes the gradient before tanh, whose results are Y. */
export function tanhBackward(d: usize, dRow: usize, y: usize, yRow: usize, rows: i32, columns: i32): void {
  for (let i: i32 = 0; i < rows; i++, d += dRow, y += yRow)
    for (let p: usize = 0; p < <usize>columns * 4; p += 16) {
      const v = v128.load(y + p);
      v128.store(d + p, f32x4.mul(v128.load(d + p), f32x4.sub(ONE, f32x4.mul(v, v))));
    }
}

/** Y = LeakyReLU(scale x + shift) of each row: BatchNorm in use. */
export function affineLeaky(
  x: usize,
  xRow: usize,
  y: usize,
  yRow: usize,
  rows: i32,
  columns: i32,
  scale: usize,
  shift: usize,
  slope: f32,
): void {
  for (let i: i32 = 0; i < rows; i++, x += xRow, y += yRow, scale += 4, shift += 4) {
    const a = v128.load32_splat(scale);
    const b = v128.load32_splat(shift);
    for (let p: usize = 0; p < <usize>columns * 4; p += 16)
      v128.store(y + p, leakyOf(f32x4.add(f32x4.mul(a, v128.load(x + p)), b), slope));
  }
}

/**
 * BatchNorm (Ioffe & Szegedy 2015) over N columns, and LeakyReLU: x becomes x̂ = (x - mean) / √(var + ε), then
 * Y = LeakyReLU(γ x̂ + β). The running mean and variance move by 0.1; `roots` keeps 1 / √(var + ε).
 */
export function normForward(
  x: usize,
  xRow: usize,
  y: usize,
  yRow: usize,
  rows: i32,
  N: i32,
  gamma: usize,
  beta: usize,
  eps: f32,
  roots: usize,
  means: usize,
  variances: usize,
  slope: f32,
): void {
  const end = <usize>N * 4;
  for (let i: i32 = 0; i < rows; i++, x += xRow, y += yRow) {
    const at = <usize>i * 4;
    let total = ZERO;
    for (let p: usize = 0; p < end; p += 16) total = f32x4.add(total, v128.load(x + p));
    const mean = sum(total) / <f32>N;
    let squares = ZERO;
    for (let p: usize = 0; p < end; p += 16) {
      const d = f32x4.sub(v128.load(x + p), f32x4.splat(mean));
      squares = f32x4.add(squares, f32x4.mul(d, d));
    }
    const around = sum(squares);
    const root: f32 = 1 / sqrt<f32>(around / <f32>N + eps);
    store<f32>(roots + at, root);
    store<f32>(means + at, <f32>0.9 * load<f32>(means + at) + <f32>0.1 * mean);
    store<f32>(variances + at, <f32>0.9 * load<f32>(variances + at) + <f32>0.1 * (around / <f32>(N - 1)));
    const g = v128.load32_splat(gamma + at);
    const b = v128.load32_splat(beta + at);
    for (let p: usize = 0; p < end; p += 16) {
      const normal = f32x4.mul(f32x4.sub(v128.load(x + p), f32x4.splat(mean)), f32x4.splat(root));
      v128.store(x + p, normal);
      v128.store(y + p, leakyOf(f32x4.add(f32x4.mul(normal, g), b), slope));
    }
  }
}

/** The way back: D becomes the gradient before BatchNorm; those of γ and β grow. */
export function normBackward(
  d: usize,
  dRow: usize,
  x: usize,
  xRow: usize,
  y: usize,
  yRow: usize,
  rows: i32,
  N: i32,
  gamma: usize,
  roots: usize,
  dGamma: usize,
  dBeta: usize,
  slope: f32,
): void {
  const end = <usize>N * 4;
  for (let i: i32 = 0; i < rows; i++, d += dRow, x += xRow, y += yRow) {
    const at = <usize>i * 4;
    let first = ZERO;
    let second = ZERO;
    for (let p: usize = 0; p < end; p += 16) {
      const v = leakyGradient(v128.load(d + p), v128.load(y + p), slope);
      v128.store(d + p, v);
      first = f32x4.add(first, v);
      second = f32x4.add(second, f32x4.mul(v, v128.load(x + p)));
    }
    const b = sum(first);
    const g = sum(second);
    store<f32>(dBeta + at, load<f32>(dBeta + at) + b);
    store<f32>(dGamma + at, load<f32>(dGamma + at) + g);
    const factor = f32x4.splat(load<f32>(gamma + at) * load<f32>(roots + at));
    const mean = f32x4.splat(b / <f32>N);
    const along = f32x4.splat(g / <f32>N);
    for (let p: usize = 0; p < end; p += 16) {
      const v = f32x4.sub(f32x4.sub(v128.load(d + p), mean), f32x4.mul(v128.load(x + p), along));
      v128.store(d + p, f32x4.mul(v, factor));
    }
  }
}
