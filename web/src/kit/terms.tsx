/** Terms whose meaning a pointer, a tap or the focus shows. */
import { signal } from "@preact/signals";
import type { ComponentChildren, TargetedEvent } from "preact";

const TERMS: Record<string, string> = {
  unit: "One number of h and of c, with gates of its own. 128 units remember 128 numbers from step to step.",
  epoch: "One pass over all training data, in batches.",
  update: "One step of learning: a batch goes forward, the gradient comes back, and every weight moves a little.",
  nats: "The unit of −ln p, where p is the probability given to the right answer: 0 for p = 1, 0.69 for ½, 2.30 for 1/10.",
  clip: "A gradient longer than this is shortened to it, so that one batch cannot throw the weights far away.",
  r1: "A penalty on the gradient of D at real images: D stays smooth there, and G keeps a direction to learn in.",
  logit:
    "What D puts out before the sigmoid makes a probability of it, also called log-odds: 0 means ½, 2 means 88 %, −2 means 12 %.",
};
const WORD = /\b(units?|epochs?|updates?|nats|clip|R1|logits?|log-odds)\b(?!\/)/i;
const nameOf = (word: string) =>
  /^log/i.test(word) ? "logit" : word.toLowerCase().replace(/^(unit|epoch|update)s$/, "$1");

const tip = signal<{ text: string; left: number; top: number } | null>(null);

/** Where the meaning appears; the page has one such place. */
export const Tip = () =>
  tip.value && (
    <p
      class="chart-tooltip tip"
      aria-hidden="true"
      style={{ left: `min(${tip.value.left}px, 100vw - 19rem)`, top: `${tip.value.top}px` }}
    >
      {tip.value.text}
    </p>
  );

const hide = () => (tip.value = null);

function show({ currentTarget }: TargetedEvent<HTMLElement>) {
  const { left, bottom } = currentTarget.getBoundingClientRect();
  tip.value = { text: currentTarget.getAttribute("aria-description")!, left, top: bottom };
}

/** A text whose first term explains itself. */
export function explain(text: ComponentChildren): ComponentChildren {
  const found = typeof text === "string" ? WORD.exec(text) : null;
  if (!found) return text;
  const [word] = found;
  return [
    found.input.slice(0, found.index),
    <span
      class="term"
      tabIndex={0}
      aria-description={TERMS[nameOf(word)]}
      onPointerEnter={show}
      onPointerLeave={hide}
      onFocus={show}
      onBlur={hide}
      onKeyDown={({ key }) => key === "Escape" && hide()}
      onClick={(event) => {
        event.preventDefault(); // of a label, whose field would get the focus
        event.currentTarget.focus();
      }}
    >
      {word}
    </span>,
    found.input.slice(found.index + word.length),
  ];
}
