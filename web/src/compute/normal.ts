/**
 * Box-Muller in single precision, with the bits of torch on a processor with AVX2 and fused multiply-add. (torch draws other
 * normal numbers on processors without.)
 *
 * `log` and `sinCos` are altered from avx_mathfun.h, which torch contains: here for one number at a time, with each fused
 * multiply-add as a product and a sum in double precision that are rounded once. The notice of the original:
 *
 *   AVX implementation of sin, cos, sincos, exp and log
 *   Based on "sse_mathfun.h", by Julien Pommier, http://gruntthepeon.free.fr/ssemath/
 *   Copyright (C) 2012 Giovanni Garberoglio, Interdisciplinary Laboratory for Computational Science (LISC),
 *   Fondazione Bruno Kessler and University of Trento, via Sommarive, 18, I-38123 Trento (Italy)
 *
 *   This software is provided 'as-is', without any express or implied warranty. In no event will the authors be held liable
 *   for any damages arising from the use of this software. Permission is granted to anyone to use this software for any
 *   purpose, including commercial applications, and to alter it and redistribute it freely, subject to the following
 *   restrictions: 1. The origin of this software must not be misrepresented; you must not claim that you wrote the original
 *   software. If you use this software in a product, an acknowledgment in the product documentation would be appreciated but
 *   is not required. 2. Altered source versions must be plainly marked as such, and must not be misrepresented as being the
 *   original software. 3. This notice may not be removed or altered from any source distribution. (zlib license)
 */
const f32 = Math.fround;
const fma = (a: number, b: number, c: number) => f32(a * b + c);
const single = (values: number[]) => Float32Array.from(values);

const LOG = single([
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
]);
const [LN2_LOW, LN2_HIGH, SQRT_HALF] = single([-2.1219444e-4, 0.693359375, 0.707106781186547524]);
const SIN = single([-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]);
const COS = single([2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]);
const [PI4_1, PI4_2, PI4_3] = single([-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8]);
const [FOUR_OVER_PI, TWO_PI] = single([1.27323954473516, 2 * Math.PI]);

const number = new Float32Array(1);
const bits = new Int32Array(number.buffer);

/** ln x of a normal x > 0. */
function log(value: number): number {
  number[0] = value;
  let e = (bits[0] >> 23) - 126;
  bits[0] = (bits[0] & 0x807fffff) | 0x3f000000;
  let x = number[0]; // from 0.5 to 1
  if (x < SQRT_HALF) {
    e--;
    x = f32(f32(x - 1) + x);
  } else x = f32(x - 1);
  const z = f32(x * x);
  let y = LOG[0];
  for (let k = 1; k < LOG.length; k++) y = fma(y, x, LOG[k]);
  y = f32(y * x);
  y = fma(y, z, f32(e * LN2_LOW));
  y = fma(-z, 0.5, y);
  return fma(e, LN2_HIGH, f32(x + y));
}

/** Sine and cosine of x ≥ 0. */
function sinCos(value: number): [number, number] {
  const octant = (Math.trunc(f32(value * FOUR_OVER_PI)) + 1) & ~1;
  const x = fma(octant, PI4_3, fma(octant, PI4_2, fma(octant, PI4_1, value)));
  const z = f32(x * x);
  let cos = fma(fma(COS[0], z, COS[1]), z, COS[2]);
  cos = f32(fma(f32(cos * z), z, -0.5 * z) + 1);
  let sin = fma(fma(SIN[0], z, SIN[1]), z, SIN[2]);
  sin = fma(f32(sin * z), x, x);
  const [s, c] = octant & 2 ? [cos, sin] : [sin, cos];
  return [octant & 4 ? -s : s, (octant - 2) & 4 ? c : -c];
}

/** Turns 16 uniform numbers, from `start`, into normal ones. */
export function boxMuller(numbers: Float32Array, start: number) {
  for (let k = start; k < start + 8; k++) {
    const radius = f32(Math.sqrt(f32(-2 * log(f32(1 - numbers[k])))));
    const [sin, cos] = sinCos(f32(TWO_PI * numbers[k + 8]));
    numbers[k] = f32(radius * cos);
    numbers[k + 8] = f32(radius * sin);
  }
}
