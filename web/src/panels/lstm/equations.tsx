/** The equations of one unit at one step with their numbers, in the letters of the report, and the numbers of all units. */
import type { ComponentChildren } from "preact";
import { FUNCTIONS } from "../../compute/cell_graph";
import type { Cell } from "../../compute/cell_text";
import { formatExact, formatTerm } from "../../kit/format";
import { Lit } from "../../kit/lit";
import { Disclosure, ScrollTable } from "../../kit/table";
import { CellDiagram, lineOf } from "../../lstm/cell_diagram";
import { namesOf, titleOf } from "../../lstm/quantities";
import type { CellTrace, Trace } from "../../lstm/trace";
import { cellOf } from "../../train/cells";
import { readingsOf, stepText, type PictureProps } from "./scene";

const Letter = ({ name, index = "" }: { name: string; index?: string }) => (
  <>
    <var>{name}</var>
    {index && <sub>{index}</sub>}
  </>
);

/** A name with its index, such as "c_t". */
export const typeset = (title: string): ComponentChildren => {
  const [, words, name, index] = /^(.*?)(\w+)_(\S+)$/.exec(title)!;
  return [words, <Letter name={name} index={index} />];
};

const TOKENS = /([A-Za-z_]\w*)|([^A-Za-z_]+)/g;
/** A product of a matrix with a name, a call or a sum in parentheses. */
const PRODUCT = /([A-Za-z_]\w*)\s*@\s*(\w+\([^()]*\)|\((?:[^()]|\([^()]*\))*\)|\w+)/g;
const SIGNS: Record<string, string> = { sigmoid: "σ" };

/** The right side of the line of a quantity. */
const sourceOf = (cell: Cell, name: string) => lineOf(cell, name).split("=")[1].trim();

/** The equation of a quantity; `before` is the index of the step before. */
function letters(cell: Cell, name: string, before: string, dropped: string | null): ComponentChildren {
  const quantity = cell.quantities.get(name)!;
  const parts = [...sourceOf(cell, name).matchAll(TOKENS)].map(([part, word], k): ComponentChildren => {
    const known = word && cell.quantities.get(word);
    if (known) return <Letter key={k} name={word} index={known.line < quantity.line ? "t" : before} />;
    if (word === "x") return <Letter key={k} name="x" index="t" />;
    if (word && word in FUNCTIONS) return SIGNS[word] ?? word;
    if (word) return <Letter key={k} name={word.split("_")[0]} index={word.split("_").slice(1).join("_")} />;
    return part.replaceAll(/\s*[@*]\s*/g, " ");
  });
  const kind = name === "h" ? dropped : null;
  return [
    <Letter name={name} index="t" />,
    " = ",
    ...(kind ? [<Letter name="m" index="t" />, " (", parts, ")"] : parts),
    ...(kind === "zoneout"
      ? [" + (1 − ", <Letter name="m" index="t" />, ") ", <Letter name="h" index={before} />]
      : []),
  ];
}

/** The steps from the equation of a unit to its result in numbers; `place` is where the nodes have them. */
function numbers(cell: Cell, name: string, { nodes, mask: masks }: CellTrace, place: number, isZoneout: boolean) {
  const quantity = cell.quantities.get(name)!;
  const { graph } = cell;
  const find = (op: string, value: string) => graph.nodes.findIndex((node) => node.op === op && node.value === value);
  const valueOf = (index: number) => nodes[index][place];
  const term = (word: string) => {
    const known = cell.quantities.get(word);
    if (known && known.line < quantity.line) return formatTerm(valueOf(known.node));
    return formatTerm(valueOf(find(known ? "state" : "vector", word)));
  };
  const text = sourceOf(cell, name)
    .replaceAll(PRODUCT, (_, matrix) => `{${formatTerm(valueOf(find("matmul", matrix)))}}`)
    .split(/[{}]/)
    .map((part, k) =>
      k % 2
        ? part
        : part.replaceAll(TOKENS, (all, word) =>
            !word ? all : word in FUNCTIONS ? (SIGNS[word] ?? word) : term(word),
          ),
    )
    .join("")
    .replaceAll("*", "·");
  const result = valueOf(quantity.node);
  const mask = masks && masks[place];
  if (name !== "h" || mask === null) return [text, formatExact(result)];
  const own = valueOf(graph.nodes[quantity.node].args[0]);
  const kept = isZoneout ? ` + ${formatExact(1 - mask)} · ${formatTerm((result - mask * own) / (1 - mask) || 0)}` : "";
  return [text, `${formatExact(mask)} · ${formatTerm(own)}${kept}`, formatExact(result)];
}

export function Details({ scene, selected: { map: chosen, step, unit } }: PictureProps) {
  const { content } = scene;
  const cell = cellOf(content.cell);
  const readings = readingsOf(scene).filter(({ trace }) => step < trace.steps);
  const { direction, mask } = scene.first.trace.cells[scene.cell];
  const before = direction === "backward" ? "t+1" : "t−1";
  const maps = namesOf(content.cell);
  const isZoneout = content.hiddenDropoutKind === "zoneout";
  return (
    <section>
      <h3>{`Unit ${unit + 1} at ${stepText(scene, step)}: ${titleOf(content.cell, chosen)}`}</h3>
      <div class="lstm-equations steps-grid" data-count={maps.length}>
        {maps.map((map) => (
          <Lit key={map} part={map}>
            <div class={map === chosen ? "selected" : undefined} data-map={map}>
              <p class="lstm-equation-letters">{letters(cell, map, before, mask && content.hiddenDropoutKind)}</p>
              {readings.map(({ name, trace }) => (
                <p key={name} class="lstm-equation-numbers">
                  {name && <em>{`${name} `}</em>}
                  {chunks(numbers(cell, map, trace.cells[scene.cell], step * content.hiddenSize + unit, isZoneout))}
                </p>
              ))}
            </div>
          </Lit>
        ))}
      </div>
      <CellDiagram cell={content.cell} />
      <UnitTable {...{ scene, step }} />
    </section>
  );
}

/** Parts of an equation, each of which stays on one line if it fits. */
const chunks = (parts: string[]): ComponentChildren[] =>
  parts.flatMap((part, k) => [
    k === parts.length - 1 ? <strong>{`= ${part}`}</strong> : <span>{`= ${part}`}</span>,
    " ",
  ]);

/** Text alternative of the heat maps: the values of all units at the selected step, once it is opened. */
function UnitTable({ scene, step }: Pick<PictureProps, "scene"> & { step: number }) {
  const { content, order, cell } = scene;
  const names = namesOf(content.cell);
  const readings = readingsOf(scene);
  const columns = ["unit", ...readings.flatMap((reading) => names.map((name) => `${name} ${reading.name}`.trim()))];
  const numberOf = (trace: Trace, name: string, unit: number) =>
    step < trace.steps && formatExact(trace.cells[cell].values[name][step * order.length + unit]);
  const cells = (unit: number) => readings.flatMap(({ trace }) => names.map((name) => numberOf(trace, name, unit)));
  const rows = () => Array.from(order, (unit) => ({ head: unit + 1, cells: cells(unit) }));
  return (
    <Disclosure summary={`Numbers of all units at ${stepText(scene, step)}`}>
      {() => <ScrollTable name="Values of all units" columns={columns} rows={rows()} />}
    </Disclosure>
  );
}
