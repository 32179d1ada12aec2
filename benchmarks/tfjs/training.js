/**
 * The report's two networks in TensorFlow.js, to which `python -m benchmarks explorer_training` compares the page. They have as many
 * numbers in each matrix, but no dropout, clipping and shuffling. Weights and data are random, since no time depends on them.
 */
import "@tensorflow/tfjs-backend-cpu";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/register_all_gradients";

const weight = (...shape) => tf.variable(tf.randomNormal(shape, 0, 0.05));
/** A matrix product whose gradients transpose first: a product with a transposed factor is slow in the backend "wasm". */
const quickProduct = tf.customGrad((a, b, save) => {
  save([a, b]);
  const gradFunc = (dy, [x, y]) => [tf.matMul(dy, tf.transpose(y)), tf.matMul(tf.transpose(x), dy)];
  return { value: tf.matMul(a, b), gradFunc };
});
let product = quickProduct;
const zeros = (...shape) => tf.variable(tf.zeros(shape));

/** Returns a function that makes one update and returns the loss. */
function makeLstm({ length, hidden, classes, batch, learningRate }) {
  const [w, u, b] = [weight(1, 4 * hidden), weight(hidden, 4 * hidden), zeros(4 * hidden)];
  const [v, c] = [weight(hidden, classes), zeros(classes)];
  const steps = Array.from({ length: length - 1 }, () => tf.randomUniform([batch, 1], 0, 9));
  const targets = tf.oneHot(tf.randomUniform([batch], 0, classes, "int32"), classes);
  const optimizer = tf.train.rmsprop(learningRate, 0.99);
  const lossOf = () => {
    let [h, cell] = [tf.zeros([batch, hidden]), tf.zeros([batch, hidden])];
    for (const x of steps) {
      const sums = tf.add(tf.add(product(x, w), product(h, u)), b);
      const [i, f, g, o] = tf.split(sums, 4, 1);
      cell = tf.add(tf.mul(tf.sigmoid(f), cell), tf.mul(tf.sigmoid(i), tf.tanh(g)));
      h = tf.mul(tf.sigmoid(o), tf.tanh(cell));
    }
    return tf.losses.softmaxCrossEntropy(targets, tf.add(product(h, v), c));
  };
  return () => optimizer.minimize(lossOf, true, [w, u, b, v, c]);
}

/** Returns a function that makes one update of D and one of G, and returns the loss of G. */
function makeGan({ latentSize, widths, discriminatorWidths, pixels, batch, learningRate }) {
  const layers = (sizes) => sizes.slice(1).map((size, k) => [weight(sizes[k], size), zeros(size)]);
  const norms = widths.slice(1).map((size) => [tf.variable(tf.ones([size])), zeros(size)]);
  const [g, d] = [layers([latentSize, ...widths, pixels]), layers([pixels, ...discriminatorWidths, 1])];
  const images = tf.randomUniform([batch, pixels], -1, 1);
  const [ofG, ofD] = [tf.train.adam(learningRate, 0.5), tf.train.adam(learningRate, 0.5)];
  const linear = (x, [w, b]) => tf.add(product(x, w), b);
  const norm = (x, [scale, shift]) => {
    const centered = tf.sub(x, tf.mean(x, 0));
    const factor = tf.rsqrt(tf.add(tf.mean(tf.square(centered), 0), 1e-5));
    return tf.add(tf.mul(tf.mul(centered, factor), scale), shift);
  };
  const generate = () => {
    let x = tf.leakyRelu(linear(tf.randomNormal([batch, latentSize]), g[0]));
    norms.forEach((one, k) => (x = tf.leakyRelu(norm(linear(x, g[k + 1]), one))));
    return tf.tanh(linear(x, g.at(-1)));
  };
  const discriminate = (x) => d.reduce((h, layer, k) => linear(k ? tf.leakyRelu(h) : h, layer), x);
  const softplus = (logits) => tf.mean(tf.softplus(logits));
  const ownD = d.flat();
  const ownG = [...g.flat(), ...norms.flat()];
  return () => {
    const fake = generate();
    const lossOfD = () => tf.add(softplus(tf.neg(discriminate(images))), softplus(discriminate(fake)));
    ofD.minimize(lossOfD, false, ownD);
    return ofG.minimize(() => softplus(tf.neg(discriminate(generate()))), true, ownG);
  };
}

globalThis.tfjs = {
  version: tf.version_core,
  /** Takes the WebAssembly of the backend as URLs by file name. */
  useFiles: setWasmPaths,
  /** Begins with a network; `isTuned` says whether its products are `quickProduct`. */
  async prepare(kind, backend, isTuned, settings) {
    await tf.setBackend(backend);
    tf.disposeVariables();
    product = isTuned ? quickProduct : tf.matMul;
    this.update = { lstm: makeLstm, gan: makeGan }[kind](settings);
  },
  /** Returns the milliseconds of so many updates. */
  async run(updates) {
    const started = performance.now();
    for (let k = 0; k < updates; k++) {
      const loss = tf.tidy(this.update);
      const [value] = await loss.data();
      loss.dispose();
      if (!Number.isFinite(value)) throw new Error(`the loss of TensorFlow.js is ${value}`);
    }
    return performance.now() - started;
  },
};
