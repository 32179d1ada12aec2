/**
 * Playback of t between 0 and 1, forth and back.
 */

/** Milliseconds from one end to the other. */
const DURATION = 6000;
/** Milliseconds per frame where the reader prefers reduced motion. */
const STILL = 1200;
/** A longer gap between two frames, as after a change of the tab, counts as this many milliseconds. */
const MAX_GAP = 100;

export class Player {
  #request = 0;
  #direction = 1;
  #last = 0;
  #waited = 0;
  #reduced = matchMedia("(prefers-reduced-motion: reduce)");

  /**
   * @param {() => number} position returns t
   * @param {(t: number) => void} onmove
   * @param {() => number} numIntervals of the strip; with reduced motion, t jumps from frame to frame of it
   */
  constructor(position, onmove, numIntervals) {
    this.position = position;
    this.onmove = onmove;
    this.numIntervals = numIntervals;
  }

  get playing() {
    return this.#request !== 0;
  }

  play() {
    if (this.playing) return;
    this.#last = performance.now();
    this.#waited = 0;
    this.#request = requestAnimationFrame(this.#advance);
  }

  pause() {
    cancelAnimationFrame(this.#request);
    this.#request = 0;
  }

  /** @param {number} now */
  #advance = (now) => {
    const gap = Math.min(Math.max(now - this.#last, 0), MAX_GAP);
    this.#last = now;
    this.#waited += gap;
    if (!this.#reduced.matches) this.#move(gap / DURATION);
    else if (this.#waited >= STILL) {
      this.#waited = 0;
      this.#move(1 / this.numIntervals());
    }
    if (this.playing) this.#request = requestAnimationFrame(this.#advance);
  };

  /** @param {number} distance */
  #move(distance) {
    const t = this.position() + this.#direction * distance;
    if (t >= 1) this.#direction = -1;
    else if (t <= 0) this.#direction = 1;
    this.onmove(Math.min(Math.max(t, 0), 1));
  }
}
