/** The equations of one unit at one step with their numbers, in the letters of the report, and the numbers of all units. */
import { Fragment, type ComponentChildren } from "preact";
import { formatExact, formatTerm } from "../../kit/format";
import type { LstmContent } from "../../kit/manifest";
import { Disclosure, ScrollTable } from "../../kit/table";
import type { Lstm } from "../../lstm/lstm";
import { TITLES } from "../../lstm/words";
import type { AffineTerms, GateTerms, Trace } from "../../lstm/trace";
import { readingsOf, stepText, type PictureProps } from "./scene";
import { mapNames, type MapName } from "./state";

/** A text with letters that have an index below, such as "W_i x_t". */
export const typeset = (text: string): ComponentChildren =>
  text.split(/([A-Za-z]_(?:t[\u2212+]1|\w)|\b[WUb]\b)/).map((part, k) =>
    k % 2 === 0 ? (
      part
    ) : (
      <Fragment key={k}>
        <var>{part[0]}</var>
        {part.length > 1 && <sub>{part.slice(2)}</sub>}
      </Fragment>
    ),
  );

/** The equation of a value; `before` is the index of the step before. */
function letters(map: MapName, content: LstmContent, before: string, hasMask: boolean): string {
  const weights = map === "g" ? "_c" : map === "h" ? "" : `_${map}`; // those of the candidate g are W_c, U_c, b_c
  const affine = `W${weights} x_t + U${weights} h_${before} + b${weights}`;
  if (map === "c") return `c_t = f_t c_${before} + i_t g_t`;
  if (map !== "h") return `${map}_t = ${map === "g" ? "tanh" : "σ"}(${affine})`;
  const value = content.cell === "rnn" ? `tanh(${affine})` : "o_t tanh(c_t)";
  if (!hasMask) return `h_t = ${value}`;
  return `h_t = m_t ${value}${content.hiddenDropoutKind === "zoneout" ? ` + (1 − m_t) h_${before}` : ""}`;
}

/** The steps from the equation to its result in numbers. */
function numbers(map: MapName, { gates, c, h }: GateTerms, content: LstmContent): string[] {
  const n = formatExact;
  const affine = (name: string, { Wx, Uh, b, z }: AffineTerms) => [
    `${name}(${n(Wx)} + ${formatTerm(Uh)} + ${formatTerm(b)})`,
    `${name}(${n(z)})`,
  ];
  if (map === "c" && c)
    return [
      `${n(gates.f!.value)} · ${formatTerm(c.previous)} + ${n(gates.i!.value)} · ${formatTerm(gates.g!.value)}`,
      `${n(c.kept)} + ${formatTerm(c.written)}`,
      n(c.value),
    ];
  if (map !== "h") {
    const gate = gates[map as "i" | "f" | "g" | "o"]!;
    return [...affine(map === "g" ? "tanh" : "σ", gate), n(gate.value)];
  }
  const { mask, previous, beforeDropout, value } = h;
  if (mask === null)
    return [...(gates.h ? affine("tanh", gates.h) : [`${n(gates.o!.value)} · tanh(${n(c!.value)})`]), n(value)];
  const kept = content.hiddenDropoutKind === "zoneout" ? ` + ${n(1 - mask)} · ${formatTerm(previous)}` : "";
  return [`${n(mask)} · ${formatTerm(beforeDropout)}${kept}`, n(value)];
}

export function Details({ lstm, scene, selected: { map: chosen, step, unit } }: PictureProps & { lstm: Lstm }) {
  const { content } = scene;
  const readings = readingsOf(scene).filter(({ trace }) => step < trace.steps);
  const { direction, mask } = scene.first.trace.cells[scene.cell];
  const before = direction === "backward" ? "t+1" : "t−1";
  const maps = mapNames(content);
  const terms = readings.map(({ trace }) => lstm.gateTerms(scene.wanted.stage, scene.cell, trace, step, unit));
  return (
    <section>
      <h3>{`Unit ${unit + 1} at ${stepText(scene, step)}: ${TITLES[chosen]} ${chosen}`}</h3>
      <div class="lstm-equations steps-grid" data-count={maps.length}>
        {maps.map((map) => (
          <div key={map} class={map === chosen ? "selected" : undefined} data-map={map}>
            <p class="lstm-equation-letters">{typeset(letters(map, content, before, mask !== null))}</p>
            {readings.map(({ name }, k) => (
              <p key={name} class="lstm-equation-numbers">
                {name && <em>{`${name} `}</em>}
                {chunks(numbers(map, terms[k], content))}
              </p>
            ))}
          </div>
        ))}
      </div>
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
  const names = mapNames(content);
  const readings = readingsOf(scene);
  const columns = ["unit", ...readings.flatMap((reading) => names.map((name) => `${name} ${reading.name}`.trim()))];
  const cellOf = (trace: Trace, name: MapName, unit: number) =>
    step < trace.steps && formatExact(trace.cells[cell][name][step * order.length + unit]);
  const cells = (unit: number) => readings.flatMap(({ trace }) => names.map((name) => cellOf(trace, name, unit)));
  const rows = () => Array.from(order, (unit) => ({ head: unit + 1, cells: cells(unit) }));
  return (
    <Disclosure summary={`Numbers of all units at ${stepText(scene, step)}`}>
      {() => <ScrollTable name="Values of all units" columns={columns} rows={rows()} />}
    </Disclosure>
  );
}
