/** Optimizers of a range of weights, as torch has them. */

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

/** The moving average: a += (1 - d) (w - a), `rate` is 1 - d. */
export function average(a: usize, size: usize, w: usize, rate: f32): void {
  for (let p: usize = 0; p < size; p += 16) {
    const before = v128.load(a + p);
    const change = f32x4.mul(f32x4.sub(v128.load(w + p), before), f32x4.splat(rate));
    v128.store(a + p, f32x4.add(before, change));
  }
}
