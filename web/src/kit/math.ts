/**
 * Functions in double precision with the same bits in every engine: only operations that IEEE 754 rounds exactly, so no
 * Math.exp, Math.log or Math.tanh, whose last bit is up to the engine.
 */

const LN2_HIGH = 6.9314718036912381649e-1; // its last 21 bits are 0, so its multiples are exact
const LN2_LOW = 1.90821492927058770002e-10;
const LN2_INVERSE = 1.4426950408889634;
/** Beyond them the result is Infinity or 0. */
const [HIGHEST, LOWEST] = [709.782712893384, -745.1332191019411];

/** exp x = 2^k exp r with k = round(x / ln 2); exp r by the rational function of fdlibm's e_exp.c (Sun, 1993). */
export function exp(x: number): number {
  if (!(x <= HIGHEST)) return x > HIGHEST ? Infinity : NaN;
  if (x < LOWEST) return 0;
  const k = Math.floor(x * LN2_INVERSE + 0.5);
  const high = x - k * LN2_HIGH;
  const low = k * LN2_LOW;
  const r = high - low;
  const t = r * r;
  const c =
    r -
    t *
      (1.66666666666666019037e-1 +
        t *
          (-2.7777777777015593384e-3 +
            t * (6.61375632143793436117e-5 + t * (-1.6533902205465251539e-6 + t * 4.13813679705723846039e-8))));
  return scale(1 - (low - (r * c) / (2 - c) - high), k);
}

const POWERS = Float64Array.from({ length: 2046 }, (_, n) => 2 ** (n - 1022));

/** x · 2^k, in two steps where 2^k is no normal number. */
const scale = (x: number, k: number) =>
  k > 1023 ? x * 2 * POWERS[k + 1021] : k < -1022 ? x * POWERS[k + 54 + 1022] * 2 ** -54 : x * POWERS[k + 1022];

/** tanh x: near 0 a continued fraction, else 1 - 2 / (exp 2x + 1). */
export function tanh(x: number): number {
  const size = Math.abs(x);
  if (size > 22) return x > 0 ? 1 : -1;
  if (size >= 0.4) {
    const value = 1 - 2 / (exp(2 * size) + 1);
    return x > 0 ? value : -value;
  }
  const s = x * x;
  return (x * (135135 + s * (17325 + s * (378 + s)))) / (135135 + s * (62370 + s * (3150 + s * 28)));
}

/** Rounds as Python, a half to the even neighbor. */
export function roundToEven(x: number): number {
  const floor = Math.floor(x);
  return x - floor > 0.5 || (x - floor === 0.5 && floor % 2) ? floor + 1 : floor;
}

export const sigmoid = (x: number) => 1 / (1 + exp(-x));

export const softplus = (x: number) => Math.max(x, 0) + log(1 + exp(-Math.abs(x)));

export const logOdds = (p: number) => log(p / (1 - p));

/** ln x: with x = m · 2^e, ln x = 2 artanh((m - 1) / (m + 1)) + e ln 2. */
export function log(x: number): number {
  if (!(x > 0 && x < Infinity)) return x === 0 ? -Infinity : x > 0 ? Infinity : NaN;
  let exponent = 0;
  for (; x < Math.SQRT1_2; exponent--) x *= 2;
  for (; x > Math.SQRT2; exponent++) x /= 2;
  const t = (x - 1) / (x + 1);
  let sum = 0;
  for (let k = 21; k >= 1; k -= 2) sum = sum * t * t + 1 / k;
  return 2 * t * sum + exponent * Math.LN2;
}

/** Applies softmax in place to each row of x [N, columns]. */
export function softmax<A extends Float32Array | Float64Array>(x: A, columns = x.length): A {
  for (let start = 0; start < x.length; start += columns) {
    let max = -Infinity;
    for (let k = start; k < start + columns; k++) max = Math.max(max, x[k]);
    let sum = 0;
    for (let k = start; k < start + columns; k++) sum += x[k] = exp(x[k] - max);
    for (let k = start; k < start + columns; k++) x[k] /= sum;
  }
  return x;
}

/** Returns the cross-entropy of logits, -log softmax(logits)[target]. */
export function crossEntropy(logits: Float64Array, target: number): number {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  return max + log(logits.reduce((sum, value) => sum + exp(value - max), 0)) - logits[target];
}
