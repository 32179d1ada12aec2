/** State of the panel, and curves of a GAN run with a cursor at the moment of the pictures. */
import { minIndex } from "d3-array";
import { Chart } from "../../charts/chart";
import { AXES, chartOf, columnOf, columnsOf, curvesOf, formatOf } from "../../charts/curves";
import type { Snapshots } from "../../gan/gan";
import { field, integer, oneOf, optional, type State } from "../../kit/codec";
import { Select } from "../../kit/controls";
import { capital, formatNumber } from "../../kit/format";
import type { RecordedGan, SnapshotSpec } from "../../kit/manifest";

export const MOMENT_AXES = [...AXES, ["moment", "evenly from picture to picture"]] as const;

export function fieldsOf(snapshots: Snapshots, content: RecordedGan) {
  const last = snapshots.moments.length - 1;
  const ids = curvesOf(content).flatMap(({ id }) => (id === "seconds" ? [] : [id]));
  const known = (wanted: string[]) => {
    const missing = [...wanted, ...ids].find((id) => ids.includes(id)) ?? "";
    return field(missing, (text) => ids.find((id) => id === text), String);
  };
  return {
    moment: integer(0, last, last),
    image: optional(integer(0, snapshots.count - 1)),
    axis: oneOf(
      MOMENT_AXES.map(([axis]) => axis),
      "epoch-log",
    ),
    first: known(["gan-loss"]),
    second: known(["fid", "probability"]),
  };
}

export type TrainingState = State<ReturnType<typeof fieldsOf>>;

export type TrainingProps = { snapshots: Snapshots; content: RecordedGan; state: TrainingState };
export type MomentsProps = TrainingProps & { onSelect: (moment: number) => void };

type AxisChoice = (typeof MOMENT_AXES)[number][0];

/** Where the moments are on an axis, and what a chart needs to know of them. */
function axisOf(choice: AxisChoice, moments: SnapshotSpec[]) {
  const at = moments.map((moment) => moment[columnOf(choice)]);
  const isLog = choice.endsWith("-log");
  const stops = at.filter((x, index) => index === 0 || x > at[index - 1]);
  const xDomain: [number, number] = [Math.min(...at.filter((x) => !isLog || x > 0)), Math.max(...at)];
  return { at, axis: { xDomain, ...(choice === "moment" && { xSpacing: stops }) } };
}

/** Index of the number that is nearest to another; -1 if there is none. */
const nearestIndex = (values: (number | null)[], wanted: number) =>
  minIndex(values, (value) => (value === null ? null : Math.abs(value - wanted)));

export function TrainingCurves({ snapshots, content, state, onSelect }: MomentsProps) {
  const { moments } = snapshots;
  const all = curvesOf(content).filter(({ id }) => id !== "seconds");
  if (!all.length) return <p class="note">This run has no records of losses.</p>;
  const { at, axis } = axisOf(state.axis.value, moments);
  const chosen = (id: string) => all.find((curves) => curves.id === id)!;
  const moment = state.moment.value;
  const places = (["first", "second"] as const).slice(0, all.length);
  const values = [...new Set(places.map((place) => state[place].value))].flatMap((id) => {
    const { title, columns, source } = chosen(id);
    const records = columnsOf(content, source);
    const steps = records.step ?? [];
    const index = nearestIndex(steps, moments[moment].step);
    if (typeof steps[index] !== "number") return [];
    const words = Object.entries(columns).map(([key, name], _, { length }) => {
      const value = records[key][index];
      return `${length > 1 ? `${name} ` : ""}${value === null ? "–" : formatOf(chosen(id))(value)}`;
    });
    return [`${title}: ${words.join(", ")} (update ${formatNumber(steps[index])})`];
  });
  return (
    <div>
      <div class="stack training-curves">
        {places.map((place) => {
          const curves = chosen(state[place].value);
          return (
            <div key={place}>
              <Select
                label={`${capital(place)} curves`}
                of={state[place]}
                choices={all.map(({ id, title }) => [id, title])}
              />
              <Chart
                {...chartOf(content, curves, state.axis.value)}
                {...axis}
                untitled
                cursor={at[moment]}
                onSelect={(x) => onSelect(nearestIndex(at, x))}
              />
              <p class="note">{curves.note}</p>
            </div>
          );
        })}
        <Select label="Horizontal axis" of={state.axis} choices={MOMENT_AXES} />
      </div>
      <p class="note">{values.length > 0 && `Nearest records to this moment: ${values.join("; ")}.`}</p>
    </div>
  );
}
