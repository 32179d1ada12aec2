/** Playing of steps, one after the other. */
import { signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";

const REDUCED_MOTION = "(prefers-reduced-motion: reduce)";
/** Milliseconds per step for those who prefer less motion: a slow series of stills. */
const SLOW = 1000;

export const prefersStills = () => matchMedia(REDUCED_MOTION).matches;

/**
 * Takes a step after so many milliseconds, or with `still` one from still to still; returns false if there is none.
 */
export type Advance = (elapsed: number, still: boolean) => boolean;

export class Player {
  #frame = 0;
  playing = signal(false);

  /** `interval` in milliseconds per step; 0 for one with every frame. */
  constructor(
    readonly interval: number,
    readonly advance: Advance,
  ) {}

  play() {
    if (this.#frame) return;
    let last = performance.now();
    const tick = (now: number) => {
      this.#frame = requestAnimationFrame(tick);
      const still = prefersStills();
      if (now - last < (still ? Math.max(SLOW, this.interval) : this.interval)) return;
      const elapsed = Math.max(now - last, 0);
      last = now;
      if (!this.advance(elapsed, still)) this.pause();
    };
    this.#frame = requestAnimationFrame(tick);
    this.playing.value = true;
  }

  pause() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.playing.value = false;
  }
}

/** A player that stops with its component. */
export function usePlayer(interval: number, advance: Advance): Player {
  const player = useMemo(() => new Player(interval, advance), []);
  useEffect(() => () => player.pause(), []);
  return player;
}
