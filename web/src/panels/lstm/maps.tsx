/** Heat maps over the steps: those of the cell, and that of the class probabilities. */
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Cell, HeatmapContent } from "../../charts/heatmap";
import { StepMap, type RowLabel } from "../../charts/steps";
import { capital, formatExact } from "../../kit/format";
import { Lit } from "../../kit/lit";
import { gateOf, namesOf, roleOf, sortedLabels, stateOf, titleOf } from "../../lstm/quantities";
import { typeset } from "./equations";
import * as scenes from "./scene";
import type { PictureProps, Scene } from "./scene";

const MAX_CLASSES = 24;

export const endLabels = (names: string[]): RowLabel[] =>
  [0, names.length - 1].map((k) => ({ place: (k + 0.5) / names.length, name: names[k] }));

export const numbered = (count: number) => Array.from({ length: count }, (_, k) => String(k + 1));

export const mapHeight = (rows: number) => `${Math.min(Math.max(rows * 0.75, 6), 15)}rem`;

/** Names of the units at the axis: their numbers, or how they are sorted. */
function unitLabels({ content, rows }: Scene): RowLabel[] {
  if (rows === "trained") return endLabels(numbered(content.hiddenSize));
  return sortedLabels(rows === "forget" ? gateOf(content.cell)! : stateOf(content.cell));
}

function mapContent(scene: Scene, name: string): HeatmapContent {
  const { content, cell, steps, order, isDifference } = scene;
  const rows = order.length;
  const values = scenes.shownValues(scene, (trace) => trace.cells[cell].values[name]).subarray(0, steps * rows);
  const title = titleOf(content.cell, name);
  const what = isDifference ? `Difference of the ${title}` : capital(title);
  const noun = content.patchSize > 1 ? "patch" : "step";
  const label = `${what}: ${rows} units over ${steps} ${noun}s, values ${scenes.rangeText(values)}`;
  return { values, columns: steps, rows, order, scale: scenes.mapScale(scene, name, values), label };
}

/** Says what a value is: "c = 0.5", or the change of it. */
const valueText = ({ isDifference }: Scene, name: string, value: number) =>
  `${isDifference ? "change of " : ""}${name} = ${formatExact(value)}`;

export function Maps({ scene, selected: { step, unit }, onSelect }: PictureProps) {
  const { cell } = scene.content;
  const names = namesOf(cell);
  const hover = useSignal<Cell | null>(null);
  const maps = useMemo(() => names.map((name) => mapContent(scene, name)), [scene]);
  return (
    <div class="steps-grid" data-count={names.length}>
      {names.map((name, k) => (
        <Lit key={name} part={name}>
          <StepMap
            title={typeset(`${titleOf(cell, name)}_t`)}
            name={titleOf(cell, name)}
            note={roleOf(cell, name)}
            hover={hover}
            height={mapHeight(maps[k].rows)}
            content={maps[k]}
            steps={scenes.stepAxis(scene)}
            rows={unitLabels(scene)}
            selection={{ column: step, row: unit }}
            describe={({ column, row }) => {
              const value = maps[k].values[column * maps[k].rows + row];
              return `${scenes.stepText(scene, column)}, unit ${row + 1}: ${valueText(scene, name, value)}`;
            }}
            onSelect={({ column, row }) => onSelect({ map: name, step: column, unit: row })}
          />
        </Lit>
      ))}
    </div>
  );
}

function classContent(scene: Scene): HeatmapContent {
  const { content, steps, isDifference, shown } = scene;
  const rows = content.outputSize;
  const values = scenes.shownValues(scene, ({ outputs }) => outputs!).subarray(0, steps * rows);
  const marked = isDifference || Array.isArray(shown.target) ? null : shown.target;
  const label =
    `${isDifference ? "Difference of the class" : "Class"} probabilities after each of ${steps} steps; ` +
    `at the end ${scenes.outputText(content, shown.trace)}`;
  const scale = { name: isDifference ? ("difference" as const) : ("sequential" as const), limit: 1 };
  return { values, columns: steps, rows, order: null, scale, label, marked };
}

export function ClassMap({ scene, selected: { step }, onSelect }: PictureProps) {
  const map = useMemo(() => classContent(scene), [scene]);
  const names = scene.content.classNames;
  const labels = names.map((name, k) => ({ place: (k + 0.5) / names.length, name, marked: k === map.marked }));
  const top = scenes.classAfter(scene.content, scene.shown.trace.outputs!, step); // -1 where all are not a number
  const isFull = names.length <= MAX_CLASSES;
  return (
    <StepMap
      title="class probabilities"
      name="class probabilities"
      height={isFull ? `${Math.max(names.length * 1.25, 5)}rem` : "15rem"}
      content={map}
      steps={scenes.stepAxis(scene)}
      rows={isFull ? labels : endLabels(names)}
      selection={{ column: step, row: Math.max(0, top) }}
      describe={({ column, row }) => {
        const value = map.values[column * map.rows + row];
        return `${scenes.stepText(scene, column)}: ${valueText(scene, `P(${names[row]})`, value)}`;
      }}
      onSelect={({ column }) => onSelect({ step: column })}
    />
  );
}
