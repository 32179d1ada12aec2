/** What stands below the maps of the cell: the input, the output after each step, the gradients, and the attention. */
import type { ComponentProps } from "preact";
import { useMemo } from "preact/hooks";
import { ClassBars } from "../../charts/bars";
import { StepLines, type StepLine } from "../../charts/step_lines";
import { StepMap } from "../../charts/steps";
import { formatExact } from "../../kit/format";
import type { LstmContent } from "../../kit/manifest";
import { largest, titleOf } from "../../lstm/quantities";
import type { Trace } from "../../lstm/trace";
import { ClassMap, endLabels, mapHeight, numbered } from "./maps";
import { rangeText, readingsOf, stepAxis, type PictureProps, type Scene } from "./scene";
import { channels } from "./sequence";

const MAX_LINES = 4;

export function Charts(props: PictureProps) {
  const { content, first, shown, steps } = props.scene;
  const hasOutputs = readingsOf(props.scene).every(({ trace }) => trace.outputs);
  const isNumber = content.target === "number";
  const { target } = shown;
  return (
    <div class="lstm-charts steps-grid">
      {content.inputKind === "numbers" && <Input {...props} />}
      {hasOutputs && !isNumber && <ClassMap {...props} />}
      {hasOutputs && isNumber && (
        <PerStep
          {...props}
          title="output"
          line="output"
          label={`Output after each of ${steps} steps; the last is ${formatExact(first.trace.output[0])}`}
          level={typeof target === "number" ? { value: target, name: `target ${formatExact(target)}` } : null}
          pick={({ outputs }) => outputs!}
        />
      )}
      <Gradients {...props} />
      {!(isNumber && hasOutputs) && (
        <div>
          {!isNumber && <Bars {...props} />}
          {!hasOutputs && <p class="note">{whyNoOutputs(content)}</p>}
        </div>
      )}
      {first.trace.attention && (
        <PerStep
          {...props}
          title="attention weight of each step"
          line="weight"
          label="Weight of each step in the pooled state"
          pick={({ attention }) => attention!}
        />
      )}
    </div>
  );
}

function whyNoOutputs({ pooling, patchSize }: LstmContent) {
  if (pooling !== "last")
    return `This network has no output before the end: it pools the hidden states of all steps (${pooling}).`;
  return `This network has no output before the end: it reads ${patchSize > 1 ? "patches of steps" : "in both directions"}.`;
}

/** `line` names the line of an only sequence. */
type PerStepProps = PictureProps &
  Pick<ComponentProps<typeof StepLines>, "title" | "label" | "level"> & {
    line: string;
    pick: (trace: Trace) => Float64Array;
  };

const stepProps = (scene: Scene, selected: number, onSelect: PictureProps["onSelect"]) => ({
  ...{ steps: stepAxis(scene), selected },
  onSelect: (step: number) => onSelect({ step }),
});

function PerStep({ scene, selected: { step }, onSelect, pick, line, ...rest }: PerStepProps) {
  const values = pick(scene.first.trace);
  return (
    <StepLines
      {...rest}
      lines={readingsOf(scene).map(({ name, trace }, color) => ({ name: name || line, values: pick(trace), color }))}
      {...stepProps(scene, step, onSelect)}
      readout={step < values.length ? `step ${step + 1}: ${formatExact(values[step])}` : ""}
    />
  );
}

function Gradients({ scene, selected: { step }, onSelect }: PictureProps) {
  const { first, second, cell, steps } = scene;
  const { norms } = first.trace.cells[cell];
  const states = Object.keys(norms).reverse(); // that beside h first
  if (!states.length)
    return <p class="note">Without a target there is no loss and no gradient. Choose a target class.</p>;
  const suffix = second ? ", first" : "";
  const others = second?.trace.cells[cell].norms ?? {};
  const lines: StepLine[] = [
    ...states.map((name, color) => ({
      ...{ name: `‖∂loss/∂${name}‖${suffix}`, values: norms[name].subarray(0, steps), color },
    })),
    ...states
      .slice(0, 1)
      .flatMap((name) =>
        others[name]
          ? [{ name: `‖∂loss/∂${name}‖, second`, values: others[name].subarray(0, steps), color: 0, dashed: true }]
          : [],
      ),
  ];
  const [state] = states;
  const main = norms[state];
  const found = states.flatMap((name) =>
    step < norms[name].length ? [`‖∂loss/∂${name}‖ = ${formatExact(norms[name][step])}`] : [],
  );
  return (
    <StepLines
      title="gradient of the loss"
      label={
        `Norm of the gradient of the loss for ${titleOf(scene.content.cell, state)}, logarithmic: ` +
        `${formatExact(main[0])} at the first step, ${formatExact(main[main.length - 1])} at the last`
      }
      lines={lines}
      isLog
      {...stepProps(scene, step, onSelect)}
      readout={`step ${step + 1}: ${found.join(", ")}`}
    />
  );
}

/** Numbers that the network reads: lines, or a heat map of many channels. */
function Input({ scene, selected, onSelect }: PictureProps) {
  const { content, second, shown, show, steps } = scene;
  const { patchSize, channelNames } = content;
  const begin = selected.step * patchSize;
  const rows = channels(content);
  const values = useMemo(() => Float64Array.from(shown.values), [shown.values]);
  const [columns, slots] = [values.length / rows, steps * patchSize]; // a last patch may have room left
  const label = `Input: ${rows} ${rows > 1 ? "channels" : "channel"} over ${columns} steps, values ${rangeText(values)}`;
  const common = { title: "input", onSelect: (step: number) => onSelect({ step: Math.floor(step / patchSize) }) };
  const linesOf = (of: ArrayLike<number>, suffix: string): StepLine[] =>
    channelNames.map((name, color) => {
      const channel = Array.from({ length: Math.min(of.length / rows, slots) }, (_, t) => of[t * rows + color]);
      return { name: name + suffix, values: channel, color, dashed: suffix !== "" };
    });
  if (rows <= MAX_LINES) {
    const read = shown.values.slice(begin * rows, (begin + 1) * rows).map((value) => formatExact(value));
    return (
      <StepLines
        {...common}
        label={label}
        lines={[...linesOf(values, ""), ...(second && show !== "second" ? linesOf(second.values, ", second") : [])]}
        steps={{ count: slots, names: null, others: null }}
        selected={begin}
        readout={`step ${begin + 1}: ${read.join(", ")}`}
      />
    );
  }
  const name = values.some((value) => value < 0) ? "diverging" : "sequential";
  const scale = { name, limit: largest(values) || 1 } as const;
  return (
    <StepMap
      {...common}
      name="input"
      height={mapHeight(rows)}
      content={{ values, columns, rows, order: null, scale, label }}
      steps={{ count: columns, names: null, others: null }}
      rows={endLabels(numbered(rows))}
      selection={{ column: begin, row: 0 }}
      describe={({ column, row }) =>
        `step ${column + 1}, ${channelNames[row]}: ${formatExact(values[column * rows + row])}`
      }
      onSelect={({ column }) => common.onSelect(column)}
    />
  );
}

function Bars({ scene, selected: { step } }: PictureProps) {
  const { classNames, outputSize: C } = scene.content;
  const readings = readingsOf(scene).filter(({ trace }) => step < trace.steps);
  const isLast = readings.some(({ trace }) => !trace.outputs);
  const title = `Class probabilities after ${isLast ? "the last step" : `step ${step + 1}`}`;
  return (
    <div>
      <p class="note steps-title">{title}</p>
      {readings.map(({ name, target, trace: { outputs, output } }) => (
        <div key={name}>
          {name && <p class="note">{name}</p>}
          <ClassBars
            names={classNames}
            probabilities={isLast ? output : outputs!.subarray(step * C, (step + 1) * C)}
            target={Array.isArray(target) ? target[step] : target}
            label={`${title} ${name}`.trim()}
          />
        </div>
      ))}
    </div>
  );
}
