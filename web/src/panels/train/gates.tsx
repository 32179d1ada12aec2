/** Gates and states of one sequence, and the answer, of the network as it is now. */
import { useState } from "preact/hooks";
import { ClassBars } from "../../charts/bars";
import type { HeatmapContent } from "../../charts/heatmap";
import { StepMap } from "../../charts/steps";
import { argmax, formatExact, percent } from "../../kit/format";
import type { LstmTrace } from "../../train/protocol";

const MAPS = {
  i: "input gate",
  g: "cell candidate",
  f: "forget gate",
  c: "cell state",
  o: "output gate",
  h: "hidden state",
};

interface GatesProps {
  trace: LstmTrace;
  /** Of the classes. */
  names: string[];
  /** The right class, of a palindrome; null if nobody knows. */
  target: number | null;
}

export function Gates({ trace, names, target }: GatesProps) {
  const { digits, values, probabilities } = trace;
  const T = digits.length;
  const [selection, setSelection] = useState({ column: Infinity, row: 0 });
  const last = Float32Array.from(probabilities.subarray((T - 1) * names.length));
  const answer = argmax(last);
  const verdict = answer === target ? "right" : "wrong";
  const at = { ...selection, column: Math.min(selection.column, T - 1) };
  const H = values.h.length / T;
  const steps = { count: T, names: target === null ? null : digits.map(String), others: null };
  const contentOf = (name: keyof typeof MAPS): HeatmapContent => ({
    ...{ values: values[name], columns: T, rows: H, order: null, binning: "extreme" },
    scale: "ifo".includes(name)
      ? { name: "sequential", limit: 1 }
      : { name: "diverging", limit: limitOf(name, values.c) },
    label: `${MAPS[name]} ${name}: ${H} units over ${T} steps`,
  });
  return (
    <>
      <p>
        The answer is <strong>{`${names[answer]} (${percent(last[answer])})`}</strong>
        {target !== null && [`, the first digit is ${target}: `, <span class={verdict}>{verdict}</span>]}.
      </p>
      <ClassBars names={names} probabilities={last} />
      <div class="steps-grid" data-count={6}>
        {(Object.keys(MAPS) as (keyof typeof MAPS)[]).map((name) => (
          <StepMap
            key={name}
            title={`${MAPS[name]} ${name}`}
            name={`${MAPS[name]} ${name}`}
            height="12rem"
            content={contentOf(name)}
            steps={steps}
            rows={[0, H - 1].map((k) => ({ place: (k + 0.5) / H, name: String(k + 1) }))}
            selection={at}
            describe={({ column, row: unit }) =>
              `step ${column + 1}, unit ${unit + 1}: ${name} = ${formatExact(values[name][column * H + unit])}`
            }
            onSelect={setSelection}
          />
        ))}
      </div>
    </>
  );
}

const limitOf = (name: string, c: Float64Array) =>
  name === "c" ? c.reduce((max, value) => Math.max(max, Math.abs(value)), 1) : 1;
