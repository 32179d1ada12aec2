/** State of the panel, and its form in the fragment, where all counts begin at 1, and a cell is MAP.STEP.UNIT. */
import { batch } from "@preact/signals";
import { codec, field, integer, oneOf, optional, readInteger } from "../../kit/codec";
import { cell } from "../../kit/controls";
import type { LstmContent } from "../../kit/manifest";
import { gateOf, namesOf } from "../../lstm/quantities";
import type { Target } from "../../lstm/trace";
import { firstSequence, formatSequence, MAX_STEPS, parseSequence } from "./sequence";

export type Show = "first" | "second" | "difference";
export type Order = "trained" | "forget" | "state";

/** The cell of a heat map at hand; step and unit count from 0. */
export interface Selected {
  map: string; // A quantity of the cell
  step: number;
  unit: number; // -1 for that of the top row
}

export const MAX_SEED = 2 ** 32 - 1; // Largest mask seed, what a number field holds exactly
const MAX_TEXT = 20_000; // Longest sequence in the fragment, in characters
const START = 200; // Steps at the start where there is no example

/** Whether a user chooses the target. */
export const hasChoice = (content: LstmContent) => content.target === "class" && !content.rule;

const writeCell = ({ map, step, unit }: Selected) => `${map}.${step + 1}.${unit + 1}`;

function fieldsOf(content: LstmContent) {
  const { stages, numLayers, bidirectional, examples, outputSize, hiddenSize, hiddenDropout } = content;
  const gate = gateOf(content.cell);
  const start: Selected = { map: gate ?? "h", step: Infinity, unit: -1 };
  const sequence = field<number[] | null>(
    null,
    (text) => {
      const { values } = parseSequence(content, text);
      return values.length ? values : undefined;
    },
    (values) => {
      const text = values && formatSequence(content, values).replaceAll("\n", ";");
      return text && text.length <= MAX_TEXT ? text : null;
    },
  );
  const readCell = (text: string): Selected => {
    const [name, step = "", unit = ""] = text.split(".");
    return {
      map: namesOf(content.cell).find((map) => map === name) ?? start.map,
      step: (readInteger(step, 1, MAX_STEPS) ?? Infinity) - 1,
      unit: (readInteger(unit, 1, hiddenSize) ?? 0) - 1,
    };
  };
  return {
    example: optional(integer(1, examples.length)),
    sequence,
    stage: integer(1, stages.length, stages.length),
    layer: integer(1, numLayers, numLayers),
    direction: oneOf<"forward" | "backward">(bidirectional ? ["forward", "backward"] : ["forward"]),
    target: field<Target>(
      null,
      (text) => (hasChoice(content) ? readInteger(text, 0, outputSize - 1) : undefined),
      String,
    ),
    compare: sequence,
    show: oneOf<Show>(["first", "second", "difference"], "difference"),
    seed: optional(integer(0, hiddenDropout > 0 ? MAX_SEED : -1)),
    units: !gate ? oneOf<Order>(["trained", "state"], "state") : oneOf<Order>(["trained", "forget", "state"], "forget"),
    cell: field(start, readCell, writeCell),
  };
}

/** Reads the state of a run from the fragment: its fields, what controls show of them, and what writes it. */
export function openState(content: LstmContent, view: URLSearchParams) {
  const { stages, numLayers, bidirectional, examples } = content;
  const fields = codec(fieldsOf(content));
  const state = fields.read(view);
  const { example, sequence, target, compare, show } = state;
  const found = () => (example.value === null ? null : examples[example.value - 1]);
  if (!found() && !sequence.value) {
    if (examples.length) example.value = 1;
    else sequence.value = firstSequence(content, Math.min(content.length, START));
  }
  target.value ??= found()?.target ?? null;
  if (!compare.value) show.value = "first";
  const first = cell<number[]>(
    () => found()?.values ?? sequence.value!,
    (values) => batch(() => ([example.value, sequence.value] = [null, values])),
  );
  /** Null for none; a new one shows its difference from the first. */
  const second = cell<number[] | null>(
    () => compare.value,
    (values) =>
      batch(() => {
        if (!values || !compare.value) show.value = values ? "difference" : "first";
        compare.value = values;
      }),
  );
  const chosenExample = cell<string>(
    () => String(example.value ?? ""),
    (k) => k && batch(() => ([example.value, target.value] = [Number(k), examples[Number(k) - 1].target])),
  );
  const chosenTarget = cell<string>(
    () => (typeof target.value === "number" ? String(target.value) : ""),
    (text) =>
      batch(() => {
        target.value = text === "" ? null : Number(text);
        if (found() && found()!.target !== target.value) first.value = first.value; // then it is no example
      }),
  );
  const write = (selected: Selected) => {
    const isLeftOut: Record<string, boolean> = {
      sequence: example.value !== null,
      stage: stages.length < 2,
      layer: numLayers < 2 && !bidirectional,
      direction: !bidirectional,
      target: example.value !== null || target.value === null || !hasChoice(content),
      show: !compare.value,
    };
    const written = { ...fields.write(state), cell: writeCell(selected) };
    return Object.fromEntries(Object.entries(written).filter(([key]) => !isLeftOut[key]));
  };
  return { ...state, first, second, chosenExample, chosenTarget, write };
}

export type LstmState = ReturnType<typeof openState>;
