/** Dropout of the hidden state: on or off, the seed of the masks, and the spread of the output over 100 masks. */
import { useEffect, useRef, useState } from "preact/hooks";
import { announce } from "../../kit/announce";
import { Button, bound, NumberField, Toggle, type Cell } from "../../kit/controls";
import { argmax, formatExact, percent, topClass } from "../../kit/format";
import type { LstmContent } from "../../kit/manifest";
import { ScrollTable } from "../../kit/table";
import { Group } from "./controls";
import type { Model } from "./model";
import { MAX_SEED } from "./state";

const NUM_MASKS = 100;
const SLICE = 12; // Milliseconds of computation between two frames
const MAX_ROWS = 12;
const KINDS = {
  step: "a new mask at every step",
  variational: "one mask for the whole sequence",
  zoneout: "zoneout: a dropped unit keeps its previous value",
};

/** `spread` is whether it is shown. */
export function DropoutControls({ model: { content, state }, spread }: { model: Model; spread: Cell<boolean> }) {
  const { hiddenDropout, hiddenDropoutKind } = content;
  const last = useRef(state.seed.value ?? 0);
  const seed = bound(state.seed.value ?? last.current, (value) => (state.seed.value = last.current = value));
  const isOn = bound(state.seed.value !== null, (wanted) => (state.seed.value = wanted ? last.current : null));
  if (hiddenDropout === 0)
    return <Group title="Dropout">This network was trained without dropout of the hidden state.</Group>;
  return (
    <Group title="Dropout">
      <p>{`Trained with dropout of the hidden state, p = ${hiddenDropout}, ${KINDS[hiddenDropoutKind]}.`}</p>
      <Toggle label="Drop units, as in training" of={isOn} />
      {isOn.value && (
        <div class="row controls">
          <NumberField label="Mask seed" of={seed} min={0} max={MAX_SEED} />
          <Button onClick={() => (seed.value = (seed.value + 1) % (MAX_SEED + 1))}>Next mask</Button>
        </div>
      )}
      <Toggle label="Spread over 100 masks" of={spread} />
    </Group>
  );
}

/** The outputs of 100 masks, computed a few at a time, so that the page stays responsive. */
export function Spread({ model: { lstm, content, traced } }: { model: Model }) {
  const { stage, first } = traced.value.wanted;
  /** The output without dropout, then those of the masks. */
  const [outputs, setOutputs] = useState<Float64Array[]>([]);
  useEffect(() => {
    const x = lstm.encode(first);
    const compute = (seed: bigint | null) => lstm.trace(stage, x, { seed, outputs: false }).output;
    const found = [compute(null)];
    const step = () => {
      const begin = performance.now();
      do found.push(compute(BigInt(found.length - 1)));
      while (found.length <= NUM_MASKS && performance.now() - begin < SLICE);
      setOutputs([...found]);
      if (found.length <= NUM_MASKS) timer = setTimeout(step, 0);
      else announce(summaryOf(content, found));
    };
    let timer = setTimeout(step, 0);
    return () => clearTimeout(timer);
  }, [lstm, stage, first]);
  return (
    <section>
      <p class="lstm-spread-summary">{outputs.length > 0 && summaryOf(content, outputs)}</p>
      <h3>Output after the last step over 100 masks</h3>
      {outputs.length > 0 && <SpreadTable content={content} outputs={outputs} />}
    </section>
  );
}

function summaryOf(content: LstmContent, [plain, ...outputs]: Float64Array[]) {
  const count = outputs.length;
  const progress = count < NUM_MASKS ? ` (${count} of ${NUM_MASKS} masks so far)` : "";
  if (content.target === "number") return `The output with masks 0 to ${count - 1}${progress}.`;
  const best = argmax(plain);
  const votes = outputs.filter((output) => argmax(output) === best).length;
  const [name] = topClass(content.classNames, plain);
  return `${votes} of ${count} masks predict ${name}, as the network does without dropout${progress}.`;
}

/** One mark per mask and class, beside the output without dropout. */
function SpreadTable({ content, outputs: [plain, ...outputs] }: { content: LstmContent; outputs: Float64Array[] }) {
  const isNumber = content.target === "number";
  const classes = Array.from(plain, (_, k) => k).sort((a, b) => plain[b] - plain[a]);
  const all = [plain[0], ...outputs.map(([value]) => value)];
  const [low, high] = isNumber ? [Math.min(...all), Math.max(...all)] : [0, 1];
  const mark = (value: number) => ({ left: `${(100 * (value - low)) / (high - low || 1)}%` });
  const format = (value: number) => (isNumber ? formatExact(value) : percent(value, "short"));
  const rows = classes.slice(0, MAX_ROWS).map((k) => {
    const values = outputs.map((output) => output[k]).sort((a, b) => a - b);
    const quantile = (p: number) => format(values[Math.round(p * (values.length - 1))]);
    const strip = (
      <span class="value-strip" aria-hidden="true">
        {values.map((value, n) => (
          <span key={n} style={mark(value)} />
        ))}
        <strong style={mark(plain[k])} />
      </span>
    );
    const cells = [strip, quantile(0.5), `${quantile(0.05)} to ${quantile(0.95)}`, format(plain[k])];
    return { head: isNumber ? "output" : content.classNames[k], cells };
  });
  const columns = ["class", "100 masks", "median", "5 % to 95 %", "no dropout"];
  return <ScrollTable name="Table of the outputs of all masks" {...{ columns, rows }} />;
}
