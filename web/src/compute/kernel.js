/**
 * The matrix multiplication that all networks of a GAN use: plain JavaScript, or WebAssembly with SIMD where there is any.
 */

export class Kernel {
  /**
   * Returns y = x W^T + b.
   * @param {Float32Array} x [N, I]
   * @param {Float32Array} W [O, I]
   * @param {Float32Array} b [O]
   * @param {number} count N
   * @returns {Float32Array} [N, O]
   */
  linear(x, W, b, count) {
    const outputs = b.length;
    const inputs = W.length / outputs;
    const y = new Float32Array(count * outputs);
    for (let n = 0; n < count; n++) {
      for (let o = 0; o < outputs; o++) {
        let sum = b[o];
        for (let i = 0; i < inputs; i++) sum += x[n * inputs + i] * W[o * inputs + i];
        y[n * outputs + o] = sum;
      }
    }
    return y;
  }
}
