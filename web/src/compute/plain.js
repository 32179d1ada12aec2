/**
 * The kernel in plain JavaScript, for browsers without SIMD.
 *
 * Tiles of 4 rows of W and 2 rows of x save reads. Indices are rounded with `| 0`, which tells the compiler of the browser
 * that they do not overflow.
 */

/** @typedef {import("./kernel.js").KernelBackend} KernelBackend */
/** @typedef {import("./kernel.js").Matrix} Matrix */
/** @typedef {import("./kernel.js").Rows} Rows */
/** @typedef {import("./kernel.js").Stretch} Stretch */

/** @implements {KernelBackend} */
export class PlainKernel {
  /**
   * @param {number} length
   * @returns {Stretch}
   */
  allocate(length) {
    return { start: 0, values: new Float32Array(length) };
  }

  /**
   * @param {Matrix} x
   * @param {Rows} rows
   * @param {Matrix} W
   * @param {Matrix} b
   * @param {Matrix} y
   * @param {number} firstRow
   * @param {number} slope
   */
  linear(x, rows, W, b, y, firstRow, slope) {
    const tile = { W: W.values, b: b.values, y: y.values, yStride: y.stride, slope, ...rows };
    for (let o = 0; o < W.rows; o += 4) {
      for (let n = 0; n < rows.count; n += 2) {
        const from = rows.start + n * rows.stride;
        const to = (firstRow + n) * y.stride + o;
        if (n + 1 < rows.count) pairTile(x.values, tile, o, from, to);
        else singleTile(x.values, tile, o, from, to);
      }
    }
  }

  /**
   * @param {Matrix} dy
   * @param {number} count
   * @param {Matrix} W
   * @param {Matrix} dx
   */
  transposed(dy, count, W, dx) {
    for (let o = 0; o < W.rows; o += 4) {
      for (let n = 0; n < count; n += 2) {
        if (n + 1 < count) addToPair(dy, W, dx, o, n);
        else addToSingle(dy, W, dx, o, n);
      }
    }
  }
}

/** @typedef {{W: Float32Array, b: Float32Array, y: Float32Array, yStride: number, slope: number} & Rows} Tile */

/**
 * Computes 4 outputs of 2 rows of x.
 * @param {Float32Array} x
 * @param {Tile} tile
 * @param {number} o first output
 * @param {number} from of the first row in x
 * @param {number} to of its first output in y
 */
function pairTile(x, tile, o, from, to) {
  const { W, b, y, yStride, slope, stride, length, pieces, gap } = tile;
  const width = (length * pieces) | 0;
  const width2 = (2 * width) | 0;
  const width3 = (3 * width) | 0;
  let w = (o * width) | 0;
  let [a0, a1, a2, a3] = [b[o], b[o + 1], b[o + 2], b[o + 3]];
  let [c0, c1, c2, c3] = [a0, a1, a2, a3];
  for (let piece = 0, p = from | 0; piece < pieces; piece++, p = (p + gap) | 0) {
    for (const end = (p + length) | 0; p < end; p = (p + 1) | 0, w = (w + 1) | 0) {
      const u = x[p];
      const v = x[(p + stride) | 0];
      const k0 = W[w];
      a0 += u * k0;
      c0 += v * k0;
      const k1 = W[(w + width) | 0];
      a1 += u * k1;
      c1 += v * k1;
      const k2 = W[(w + width2) | 0];
      a2 += u * k2;
      c2 += v * k2;
      const k3 = W[(w + width3) | 0];
      a3 += u * k3;
      c3 += v * k3;
    }
  }
  store(y, to, slope, a0, a1, a2, a3);
  store(y, to + yStride, slope, c0, c1, c2, c3);
}

/**
 * Computes 4 outputs of one row of x, in the order of `pairTile`.
 * @param {Float32Array} x
 * @param {Tile} tile
 * @param {number} o
 * @param {number} from
 * @param {number} to
 */
function singleTile(x, tile, o, from, to) {
  const { W, b, y, slope, length, pieces, gap } = tile;
  const width = (length * pieces) | 0;
  const width2 = (2 * width) | 0;
  const width3 = (3 * width) | 0;
  let w = (o * width) | 0;
  let [a0, a1, a2, a3] = [b[o], b[o + 1], b[o + 2], b[o + 3]];
  for (let piece = 0, p = from | 0; piece < pieces; piece++, p = (p + gap) | 0) {
    for (const end = (p + length) | 0; p < end; p = (p + 1) | 0, w = (w + 1) | 0) {
      const u = x[p];
      a0 += u * W[w];
      a1 += u * W[(w + width) | 0];
      a2 += u * W[(w + width2) | 0];
      a3 += u * W[(w + width3) | 0];
    }
  }
  store(y, to, slope, a0, a1, a2, a3);
}

/**
 * Stores 4 outputs after LeakyReLU.
 * @param {Float32Array} y
 * @param {number} to
 * @param {number} slope
 * @param {number} a
 * @param {number} b
 * @param {number} c
 * @param {number} d
 */
function store(y, to, slope, a, b, c, d) {
  y[to] = a < 0 ? slope * a : a;
  y[to + 1] = b < 0 ? slope * b : b;
  y[to + 2] = c < 0 ? slope * c : c;
  y[to + 3] = d < 0 ? slope * d : d;
}

/**
 * Adds 4 rows of W, times their numbers of dy, to 2 rows of dx.
 * @param {Matrix} dy
 * @param {Matrix} W
 * @param {Matrix} dx
 * @param {number} o first row of W
 * @param {number} n first row of dx
 */
function addToPair(dy, W, dx, o, n) {
  const width = W.stride | 0;
  const width2 = (2 * width) | 0;
  const width3 = (3 * width) | 0;
  const stride = dx.stride | 0;
  const weights = W.values;
  const sums = dx.values;
  const g = dy.values;
  const from = n * dy.stride + o;
  const [g0, g1, g2, g3] = [g[from], g[from + 1], g[from + 2], g[from + 3]];
  const other = from + dy.stride;
  const [h0, h1, h2, h3] = [g[other], g[other + 1], g[other + 2], g[other + 3]];
  let w = (o * width) | 0;
  for (let p = (n * stride) | 0, end = (p + width) | 0; p < end; p = (p + 1) | 0, w = (w + 1) | 0) {
    const k0 = weights[w];
    const k1 = weights[(w + width) | 0];
    const k2 = weights[(w + width2) | 0];
    const k3 = weights[(w + width3) | 0];
    sums[p] += g0 * k0 + g1 * k1 + (g2 * k2 + g3 * k3);
    sums[(p + stride) | 0] += h0 * k0 + h1 * k1 + (h2 * k2 + h3 * k3);
  }
}

/**
 * Adds 4 rows of W, times their numbers of dy, to a row of dx, in the order of `addToPair`.
 * @param {Matrix} dy
 * @param {Matrix} W
 * @param {Matrix} dx
 * @param {number} o first row of W
 * @param {number} n row of dx
 */
function addToSingle(dy, W, dx, o, n) {
  const width = W.stride | 0;
  const width2 = (2 * width) | 0;
  const width3 = (3 * width) | 0;
  const weights = W.values;
  const sums = dx.values;
  const g = dy.values;
  const from = n * dy.stride + o;
  const [g0, g1, g2, g3] = [g[from], g[from + 1], g[from + 2], g[from + 3]];
  let w = (o * width) | 0;
  for (let p = (n * dx.stride) | 0, end = (p + width) | 0; p < end; p = (p + 1) | 0, w = (w + 1) | 0)
    sums[p] +=
      g0 * weights[w] +
      g1 * weights[(w + width) | 0] +
      (g2 * weights[(w + width2) | 0] + g3 * weights[(w + width3) | 0]);
}
