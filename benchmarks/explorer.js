// What the benchmark `explorer` runs in the page, with the console API of web/src/main.js.
({
  /** Returns the seconds of a call. Browsers round them to 0.1 ms. */
  seconds(run) {
    const started = performance.now();
    run();
    return (performance.now() - started) / 1000;
  },

  /** Returns the function that computes a frame: generator, discriminator and classifier for one latent. */
  async frame() {
    const gan = await reviver.gan();
    const latent = gan.latents.grid.slice(0, gan.content.latentSize);
    const classes = gan.classesOf(latent);
    return () => {
      const image = gan.generate(latent);
      gan.discriminate(image, classes);
      gan.classify(image);
    };
  },

  /** Computes frames. */
  async repeat(count) {
    const frame = await this.frame();
    for (let k = 0; k < count; k++) frame();
  },

  /** Returns the seconds of frames by the kernel, and by loops. */
  async frames(rounds, warmup) {
    const frame = await this.frame();
    const { kernel } = reviver;
    const { backend } = kernel;
    const results = { simd: kernel.simd, kernel: [], loops: [] };
    for (let round = -warmup; round < rounds; round++) {
      kernel.backend = { linear: this.loops };
      const loops = this.seconds(frame);
      kernel.backend = backend;
      const ours = this.seconds(frame);
      if (round < 0) continue; // the compiler of the browser is still at work
      results.loops.push(loops);
      results.kernel.push(ours);
      if (round % 10 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    return results;
  },

  /** y = x W^T + b and LeakyReLU as three loops. */
  loops(x, rows, W, b, y, firstRow, slope) {
    const [from, weights, bias, to] = [x.values, W.values, b.values, y.values];
    for (let n = 0; n < rows.count; n++) {
      for (let o = 0; o < W.rows; o++) {
        let sum = bias[o];
        let w = o * W.stride;
        for (let piece = 0; piece < rows.pieces; piece++) {
          const start = rows.start + n * rows.stride + piece * (rows.length + rows.gap);
          for (let i = 0; i < rows.length; i++, w++) sum += from[start + i] * weights[w];
        }
        to[(firstRow + n) * y.stride + o] = sum < 0 ? slope * sum : sum;
      }
    }
  },

  /** Projects an image; returns the RMSE and the seconds of each slice. */
  async project(image) {
    const gan = await reviver.gan();
    const projection = gan.project(Float32Array.from(image));
    const slices = [];
    for (let isDone = false; !isDone; ) {
      slices.push(this.seconds(() => (isDone = projection.advance())));
      await new Promise((resolve) => setTimeout(resolve));
    }
    return { error: projection.result.error, slices };
  },

  /** Returns what the networks make of the latents of the sample grid. */
  async outputs() {
    const gan = await reviver.gan();
    const latents = gan.latents.grid;
    const images = gan.generate(latents);
    const logits = gan.discriminate(images, gan.classesOf(latents));
    const probabilities = gan.classify(images);
    return [images, logits, probabilities].map((values) => values && Array.from(values));
  },
});
