/**
 * Playing of steps, one after the other.
 */

const REDUCED_MOTION = "(prefers-reduced-motion: reduce)";
/** Milliseconds per step for those who prefer less motion: a slow series of stills. */
const SLOW = 1000;

export class Player {
  #frame = 0;

  /**
   * @param {number} interval milliseconds per step; 0 for one with every frame
   * @param {(elapsed: number, still: boolean) => boolean} advance takes a step after so many milliseconds, or with `still`
   *   one from still to still; false if there is none
   * @param {(playing: boolean) => void} changed
   */
  constructor(interval, advance, changed) {
    this.interval = interval;
    this.advance = advance;
    this.changed = changed;
    this.reduced = matchMedia(REDUCED_MOTION);
  }

  get playing() {
    return this.#frame !== 0;
  }

  play() {
    if (this.playing) return;
    let last = performance.now();
    /** @param {number} now */
    const tick = (now) => {
      this.#frame = requestAnimationFrame(tick);
      const still = this.reduced.matches;
      if (now - last < (still ? Math.max(SLOW, this.interval) : this.interval)) return;
      const elapsed = Math.max(now - last, 0);
      last = now;
      if (!this.advance(elapsed, still)) this.pause();
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
