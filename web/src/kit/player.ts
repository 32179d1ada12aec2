/** Playing of steps, one after the other. */
import { signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";

/** Milliseconds per step for those who prefer less motion: a slow series of stills. */
const SLOW = 1000;

export const prefersStills = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export const isPhone = () => matchMedia("(max-width: 40em)").matches;

/** Takes a step after so many milliseconds, or with `still` one from still to still; returns false if there is none. */
type Advance = (elapsed: number, still: boolean) => boolean;

/** `interval` in milliseconds per step; 0 for one with every frame. */
function makePlayer(interval: number, advance: Advance) {
  let frame = 0;
  const playing = signal(false);
  const pause = () => {
    cancelAnimationFrame(frame);
    playing.value = false;
  };
  const play = () => {
    let last = performance.now();
    const tick = (now: number) => {
      frame = requestAnimationFrame(tick);
      const still = prefersStills();
      if (now - last < (still ? Math.max(SLOW, interval) : interval)) return;
      const elapsed = Math.max(now - last, 0);
      last = now;
      if (!advance(elapsed, still)) pause();
    };
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(tick);
    playing.value = true;
  };
  return { playing, play, pause };
}

export type Player = ReturnType<typeof makePlayer>;

/** A player that stops with its component. */
export function usePlayer(interval: number, advance: Advance): Player {
  const player = useMemo(() => makePlayer(interval, advance), []);
  useEffect(() => player.pause, []);
  return player;
}
