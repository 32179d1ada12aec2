/** Roving tabindex: a group of buttons is one stop of the Tab key, and the arrow keys move inside it. */
import type { ComponentChildren, HTMLAttributes } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { clamp } from "./format";

/** Directions of the arrow keys, to the right and down. */
type Move = [number, number];
export const ARROWS: Record<string, Move> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export const MOVES: typeof ARROWS = { ...ARROWS, Home: [-Infinity, 0], End: [Infinity, 0] };

interface RovingProps extends Omit<HTMLAttributes<HTMLDivElement>, "label"> {
  label: string; // Accessible name
  stop: number; // Index of the button that is the stop, as long as the focus is elsewhere
  onMove?: (index: number) => void;
  children: ComponentChildren;
}

/** A group whose buttons, in the order of reading, are one stop. Arrows up and down follow the rows as they are laid out. */
export function Roving({ label, stop, onMove, children, ...rest }: RovingProps) {
  const group = useRef<HTMLDivElement>(null);
  const buttons = () => [...group.current!.querySelectorAll<HTMLElement>("button, [role=button]")];
  const setStop = (index: number) => buttons().forEach((button, k) => (button.tabIndex = k === index ? 0 : -1));
  useLayoutEffect(() => {
    const inside = buttons().indexOf(document.activeElement as HTMLElement);
    setStop(inside < 0 ? stop : inside);
  });
  const onKeyDown = (event: KeyboardEvent) => {
    const all = buttons();
    const index = all.indexOf(document.activeElement as HTMLElement);
    const move = MOVES[event.key];
    if (index < 0 || !move || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const target = clamp(index + move[0] + (move[1] && move[1] * countInRow(all)), 0, all.length - 1);
    setStop(target);
    all[target].focus();
    onMove?.(target);
  };
  return (
    <div role="group" aria-label={label} {...rest} ref={group} onKeyDown={onKeyDown}>
      {children}
    </div>
  );
}

function countInRow(elements: HTMLElement[]): number {
  const top = (element: HTMLElement) => element.getBoundingClientRect().top;
  const next = elements.findIndex((element) => top(element) > top(elements[0]) + 1);
  return next < 0 ? elements.length : next;
}
