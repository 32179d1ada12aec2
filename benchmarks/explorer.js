// What the benchmark `explorer` runs in the page, with the console API of web/src/main.tsx.
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

  /** Returns the seconds of frames. */
  async frames(rounds, warmup) {
    return this.times(await this.frame(), rounds, warmup);
  },

  /** Returns the seconds of LSTM traces of so many steps, with outputs and gradients of the last stage; [] without a run. */
  async traces(steps, rounds, warmup) {
    if (!reviver.manifest.lstms.length) return [];
    const lstm = await reviver.lstm();
    const { encoding, inputSize } = lstm.content;
    const length = encoding === "onehot" ? steps : steps * inputSize;
    const x = lstm.encode(Array.from({ length }, (_, t) => t % 10));
    return this.times(() => lstm.trace(lstm.stages.length - 1, x, { target: 0 }), rounds, warmup);
  },

  /** Returns the seconds of each call, after some while the compiler of the browser is still at work. */
  async times(run, rounds, warmup) {
    const seconds = [];
    for (let round = -warmup; round < rounds; round++) {
      const taken = this.seconds(run);
      if (round >= 0) seconds.push(taken);
      if (round % 10 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    return seconds;
  },

  /** Moves along the interpolation, and lets the page draw each position. */
  async draw(count) {
    const slider = document.querySelector(".panel-latent .position input[type=range]");
    for (let k = 0; k < count; k++) {
      slider.value = String((k + 1) / (count + 1));
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    }
  },

  /** Returns the seconds of the projection of an image. */
  async project(image) {
    const gan = await reviver.gan();
    const projection = gan.project(Float32Array.from(image));
    let seconds = 0;
    for (let isDone = false; !isDone; ) {
      seconds += this.seconds(() => (isDone = projection.advance()));
      await new Promise((resolve) => setTimeout(resolve));
    }
    return seconds;
  },
});
