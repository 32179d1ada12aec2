/** Class probabilities as bars. */
import type { ComponentChildren } from "preact";
import { argmax, clamp, percent } from "../kit/format";

/** Classes with less than this count as 0 in the text alternative of compact bars. */
const MIN_TOLD = 0.01;
const MAX_BARS = 12;
const MAX_NAMES = 12; // Compact bars have names below them only where these names are short and few

type BarsProps = { names: string[]; probabilities: Float32Array | Float64Array | number[] };

/** A bar without a text, of a fraction. */
export const Bar = ({ part, children }: { part: number; children?: ComponentChildren }) => (
  <span class="bar" aria-hidden="true" style={{ "--part": `${100 * part}%` }}>
    {children}
  </span>
);

interface ClassBarsProps extends BarsProps {
  label?: string; // Accessible name
  target?: number | null;
}

/** A list of horizontal bars with name and percentage; of many classes only the most probable ones. */
export function ClassBars({ names, probabilities, label, target }: ClassBarsProps) {
  const order = [...names.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const shown = order.slice(0, MAX_BARS).sort((a, b) => a - b);
  return (
    // Without the role, Safari does not treat a list without bullets as one.
    <ul class="bars" role="list" aria-label={label}>
      {shown.map((k) => (
        <li key={k} class={k === order[0] ? "top" : undefined}>
          <span>
            {names[k]}
            {k === target && <small> target</small>}
          </span>
          <Bar part={clamp(probabilities[k], 0, 1)} />
          <span>{percent(probabilities[k])}</span>
        </li>
      ))}
    </ul>
  );
}

/** Vertical bars with one text alternative, which begins with `what`. */
export function ClassColumns({ names, probabilities, what = "Class probabilities" }: BarsProps & { what?: string }) {
  const top = argmax(probabilities);
  const withNames = names.length <= MAX_NAMES && names.every((name) => name.length <= 2);
  const told = names.map((name, k) => ({ name, p: probabilities[k] })).filter(({ p }) => p >= MIN_TOLD);
  told.sort((a, b) => b.p - a.p);
  const label = `${what}: ${told.map(({ name, p }) => `${name} ${percent(p)}`).join(", ")}`;
  return (
    <div class="class-columns" role="img" aria-label={label}>
      {names.map((name, k) => (
        <span key={k} class={k === top ? "top" : undefined}>
          <Bar part={probabilities[k]} />
          {withNames && name}
        </span>
      ))}
    </div>
  );
}
