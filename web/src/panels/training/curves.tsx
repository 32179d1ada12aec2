/** State of the panel, and curves of a GAN run with a cursor at the moment of the pictures. */
import { minIndex } from "d3-array";
import { Chart } from "../../charts/chart";
import { AXES, chartOf, columnOf, columnsOf, type Curves, curvesOf, formatOf } from "../../charts/curves";
import type { Snapshots } from "../../gan/gan";
import { integer, oneOf, optional, type State } from "../../kit/codec";
import { Select } from "../../kit/controls";
import { formatNumber } from "../../kit/format";
import { Disclosure } from "../../kit/table";
import type { RecordedGan } from "../../kit/manifest";

/** Curves to show first, the first two that there are. */
const FIRST = ["gan-loss", "fid", "probability"];

export function fieldsOf(snapshots: Snapshots) {
  const last = snapshots.moments.length - 1;
  return {
    moment: integer(0, last, last),
    image: optional(integer(0, snapshots.count - 1)),
    axis: oneOf(
      AXES.map(([axis]) => axis),
      "epoch-log",
    ),
  };
}

export type TrainingState = State<ReturnType<typeof fieldsOf>>;

export type TrainingProps = { snapshots: Snapshots; content: RecordedGan; state: TrainingState };
export type MomentsProps = TrainingProps & { onSelect: (moment: number) => void };

/** Index of the number that is nearest to another; -1 if there is none. */
const nearestIndex = (values: (number | null)[], wanted: number) =>
  minIndex(values, (value) => (value === null ? null : Math.abs(value - wanted)));

export function TrainingCurves({ snapshots, content, state, onSelect }: MomentsProps) {
  const { moments } = snapshots;
  const known = curvesOf(content);
  const first = FIRST.flatMap((id) => known.filter((curves) => curves.id === id)).slice(0, 2);
  const all = [...first, ...known.filter((curves) => !first.includes(curves))];
  if (!all.length) return <p class="note">This run has no records of losses.</p>;
  const axis = state.axis.value;
  const at = moments.map((one) => one[columnOf(axis)]);
  const shown = axis.endsWith("-log") ? at.filter((x) => x > 0) : at;
  const moment = state.moment.value;
  const values = all.slice(0, 2).flatMap((curves) => {
    const { title, columns, source } = curves;
    const records = columnsOf(content, source);
    const steps = records.step ?? [];
    const index = nearestIndex(steps, moments[moment].step);
    if (typeof steps[index] !== "number") return [];
    const words = Object.entries(columns).map(([key, name], _, { length }) => {
      const value = records[key][index];
      return `${length > 1 ? `${name} ` : ""}${value === null ? "–" : formatOf(curves)(value)}`;
    });
    return [`${title}: ${words.join(", ")} (update ${formatNumber(steps[index])})`];
  });
  const draw = (curves: Curves) => (
    <div key={curves.id}>
      <Chart
        {...chartOf(content, curves, axis)}
        xDomain={[Math.min(...shown), Math.max(...shown)]}
        cursor={at[moment]}
        onSelect={(x) => onSelect(nearestIndex(at, x))}
      />
      <p class="note">{curves.note}</p>
    </div>
  );
  return (
    <div>
      <div class="stack training-curves">
        {all.slice(0, 2).map(draw)}
        {all.length > 2 && <Disclosure summary="More curves">{() => all.slice(2).map(draw)}</Disclosure>}
        <Select label="Horizontal axis" of={state.axis} choices={AXES} />
      </div>
      <p class="note">{values.length > 0 && `Nearest records to this moment: ${values.join("; ")}.`}</p>
    </div>
  );
}
