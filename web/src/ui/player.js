/**
 * Playing of steps, one after the other.
 */

const REDUCED_MOTION = "(prefers-reduced-motion: reduce)";
/** Milliseconds per step for those who prefer less motion: a slow series of stills. */
const SLOW = 1000;

export class Player {
  #frame = 0;

  /**
   * @param {number} interval milliseconds per step
   * @param {() => boolean} advance takes a step; false if there is none
   * @param {(playing: boolean) => void} changed
   */
  constructor(interval, advance, changed) {
    this.interval = interval;
    this.advance = advance;
    this.changed = changed;
  }

  get playing() {
    return this.#frame !== 0;
  }

  play() {
    if (this.playing) return;
    const interval = matchMedia(REDUCED_MOTION).matches ? Math.max(SLOW, this.interval) : this.interval;
    let last = performance.now();
    /** @param {number} now */
    const tick = (now) => {
      this.#frame = requestAnimationFrame(tick);
      if (now - last < interval) return;
      last = now;
      if (!this.advance()) this.pause();
    };
    this.#frame = requestAnimationFrame(tick);
    this.changed(true);
  }

  pause() {
    if (!this.playing) return;
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.changed(false);
  }
}
