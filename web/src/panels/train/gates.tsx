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
const DIGITS = Array.from({ length: 10 }, (_, k) => String(k));

export function Gates({ trace }: { trace: LstmTrace }) {
  const { digits, values, probabilities } = trace;
  const T = digits.length;
  const [selection, setSelection] = useState({ column: Infinity, row: 0 });
  const last = Float32Array.from(probabilities.subarray((T - 1) * 10));
  const answer = argmax(last);
  const verdict = answer === digits[0] ? "right" : "wrong";
  const at = { ...selection, column: Math.min(selection.column, T - 1) };
  const H = values.h.length / T;
  const steps = { count: T, names: digits.map(String), others: null };
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
        The answer is <strong>{`${answer} (${percent(last[answer])})`}</strong>, the first digit is {digits[0]}:{" "}
        <span class={verdict}>{verdict}</span>.
      </p>
      <div class="train-answer">
        <ClassBars names={DIGITS} probabilities={last} />
      </div>
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
