/** Controls of the sequences, of the network, and of the selected step and unit. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import {
  Button,
  bound,
  type Cell,
  indexed,
  named,
  NumberField,
  Radios,
  Select,
  selectIndex,
  Slider,
  TextField,
  Toggle,
} from "../../kit/controls";
import type { LstmContent } from "../../kit/manifest";
import { gateOf, stateOf, titleOf } from "../../lstm/quantities";
import type { Model } from "./model";
import { stepText } from "./scene";
import { hasChoice } from "./state";
import { changedAtStart, channels, fieldLabel, formatSequence, MAX_STEPS, parseSequence } from "./sequence";

const ONE_LINE = 60; // Sequences above this number of characters stand in a text area that scrolls
const MAX_NAME = 12; // Characters of an example in the list
const MANY_STEPS = 200; // A picture has at least so many columns of pixels

const SHOWS = named({ first: "first", second: "second", difference: "second − first" });

export const Group = ({ title, children }: { title: string; children: ComponentChildren }) => (
  <fieldset class="card">
    <legend>{title}</legend>
    {children}
  </fieldset>
);

function SequenceField({ content, label, of }: { content: LstmContent; label: string; of: Cell<number[]> }) {
  const [typed, setTyped] = useState({ text: "", instead: [] as number[] });
  const { values, problem } = parseSequence(content, typed.text);
  // The text stays as long as it means the sequence, or is wrong and the sequence still what it was.
  const isTyped = problem ? typed.instead === of.value : values.join() === of.value.join();
  const tooLong = values.length / channels(content) >= MAX_STEPS && `Only the first ${MAX_STEPS} steps count.`;
  const type = (text: string) => {
    setTyped({ text, instead: of.value });
    const read = parseSequence(content, text);
    if (!read.problem) of.value = read.values;
  };
  const [example] = content.examples;
  const longest = Math.max(content.length, example ? formatSequence(content, example.values).length : 0);
  const isLong = content.inputKind === "numbers" || longest > ONE_LINE;
  return (
    <TextField
      {...{ label, class: "command", spellcheck: false, autocomplete: "off" }}
      {...(isLong ? { rows: 3 } : { inputMode: "numeric" })}
      of={bound(isTyped ? typed.text : formatSequence(content, of.value), type)}
      problem={(isTyped && (problem || tooLong)) || ""}
      aria-invalid={isTyped && problem !== ""}
    />
  );
}

export function SequenceControls({ model: { content, state } }: { model: Model }) {
  const { examples } = content;
  const names = examples.map((_, k) => [String(k + 1), exampleName(content, k)] as const);
  const next = (current: string) => String((Number(current) % examples.length) + 1);
  return (
    <>
      <SequenceField content={content} label={fieldLabel(content)} of={state.first} />
      <div class="row controls">
        {names.length > 0 && <Select label="Example" of={state.chosenExample} choices={[["", "choose"], ...names]} />}
        {names.length > 1 && (
          <Button onClick={() => (state.chosenExample.value = next(state.chosenExample.value))}>Next example</Button>
        )}
      </div>
      {hasChoice(content) && (
        <Select
          label="Target class, for the loss and its gradient"
          of={state.chosenTarget}
          choices={[["", "none"], ...indexed(content.classNames)]}
        />
      )}
    </>
  );
}

/** Name of an example in the list: its number, how it begins, its class. */
function exampleName(content: LstmContent, index: number) {
  const { values, target } = content.examples[index];
  const text = content.inputKind === "symbols" ? formatSequence(content, values.slice(0, MAX_NAME + 1)) : "";
  const start = text.length > MAX_NAME ? `${text.slice(0, MAX_NAME - 1)}…` : text;
  const name = content.target === "class" && typeof target === "number" ? `target ${content.classNames[target]}` : "";
  return [`${index + 1}`, start, name].filter(Boolean).join(": ");
}

export function ComparisonControls({ model: { content, state } }: { model: Model }) {
  const { first, second, show } = state;
  const isOn = bound(
    second.value !== null,
    (wanted) => (second.value = wanted ? changedAtStart(content, first.value) : null),
  );
  return (
    <Group title="Comparison">
      <Toggle label="Compare with a second sequence" of={isOn} />
      {second.value && (
        <>
          <SequenceField content={content} label="Second sequence" of={second as Cell<number[]>} />
          <Radios label="Show" of={show} choices={SHOWS} />
        </>
      )}
    </Group>
  );
}

export function NetworkControls({ model: { content, state, scene } }: { model: Model }) {
  const { stages, numLayers, bidirectional } = content;
  const gate = gateOf(content.cell);
  const moments = stages.length === 2 ? ["first", "last"] : ["first", "middle", "last"];
  const cells = Array.from({ length: numLayers * (bidirectional ? 2 : 1) }, (_, k) => {
    const layer = bidirectional ? Math.floor(k / 2) + 1 : k + 1;
    const direction = bidirectional && k % 2 ? "backward" : "forward";
    const name = [numLayers > 1 && `layer ${layer}`, bidirectional && direction].filter(Boolean).join(", ");
    return [`${layer} ${direction}`, name] as const;
  });
  const chosen = bound(`${state.layer.value} ${state.direction.value}`, (value) => {
    const [layer, direction] = value.split(" ");
    state.layer.value = Number(layer);
    state.direction.value = direction as "forward" | "backward";
  });
  const label = numLayers > 1 ? (bidirectional ? "Layer and direction" : "Layer") : "Direction";
  const byGate = gate && { forget: `by ${titleOf(content.cell, gate)}` };
  const orders = named({ trained: "as trained", ...byGate, state: `by the last ${stateOf(content.cell)}` });
  return (
    <Group title="Network">
      {stages.length < 2 ? (
        <p>Weights of {stages[0].label}.</p>
      ) : (
        <Radios
          label="Stage of training"
          of={selectIndex(state.stage)}
          choices={stages.map(({ label: name }, k) => [String(k + 1), moments[k] ? `${name} (${moments[k]})` : name])}
        />
      )}
      {cells.length > 1 && <Select label={label} of={chosen} choices={cells} />}
      <Select label="Order of the units" of={state.units} choices={orders} />
      {scene.value.steps >= MANY_STEPS && (
        <p class="note">
          There are more steps than pixels. Each pixel shows the value farthest from the mean of the unit, so a short
          event does not vanish. The selected step is always exact.
        </p>
      )}
    </Group>
  );
}

/** The selected step and unit, and the value of the second sequence at that step. */
export function SelectionControls({ model }: { model: Model }) {
  const { content, state, scene, select } = model;
  const { patchSize, hiddenSize } = content;
  const { step, unit } = model.selected.value;
  const now = state.second.value ?? state.first.value;
  const value = bound(now[step] ?? NaN, (next) => {
    if (step < now.length) state.second.value = now.with(step, next);
  });
  const label = `Change this ${content.noun} and compare`;
  const at = (current: number, name: "step" | "unit") => bound(current + 1, (next) => select({ [name]: next - 1 }));
  return (
    <div class="row controls">
      <Slider
        label={patchSize > 1 ? "Patch" : "Step"}
        of={at(step, "step")}
        {...{ min: 1, max: scene.value.steps, step: 1 }}
        format={(number) => stepText(scene.value, number - 1)}
      />
      <NumberField label={`Unit, 1 to ${hiddenSize}`} of={at(unit, "unit")} min={1} max={hiddenSize} />
      {patchSize * channels(content) === 1 &&
        (content.inputKind === "numbers" ? (
          <NumberField label={label} of={value} step="any" />
        ) : (
          <Select label={label} of={selectIndex(value)} choices={indexed(content.symbolNames)} />
        ))}
    </div>
  );
}
