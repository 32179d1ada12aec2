/** Parts of a network that light up together, wherever they stand: in the diagram, as a map, an equation, a line of the text. */
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";

/** Name of the part: a quantity of the cell, such as f, or a network of a GAN, G or D. */
export const lit = signal<string | null>(null);

/** What lights a part. */
export const lighting = (part: string) => ({
  onPointerEnter: () => (lit.value = part),
  onPointerLeave: () => (lit.value = null),
  onFocusIn: () => (lit.value = part),
  onFocusOut: () => (lit.value = null),
});

export const Lit = ({ part, children }: { part: string; children: ComponentChildren }) => (
  <div class={lit.value === part ? "lit" : undefined} {...lighting(part)}>
    {children}
  </div>
);
