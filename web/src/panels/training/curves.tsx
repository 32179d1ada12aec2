/** State of the panel, and curves of a GAN run with a cursor at the moment of the pictures. */
import { minIndex } from "d3-array";
import { Chart } from "../../charts/chart";
import { AXES, chartOf, columnOf, type Curves, curvesOf } from "../../charts/curves";
import type { Snapshots } from "../../gan/gan";
import { integer, oneOf, optional, type State } from "../../kit/codec";
import { Select } from "../../kit/controls";
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

export function TrainingCurves({ snapshots, content, state, onSelect }: MomentsProps) {
  const known = curvesOf(content);
  const first = FIRST.flatMap((id) => known.filter((curves) => curves.id === id)).slice(0, 2);
  const all = [...first, ...known.filter((curves) => !first.includes(curves))];
  if (!all.length) return <p class="note">This run has no records of losses.</p>;
  const axis = state.axis.value;
  const at = snapshots.moments.map((one) => one[columnOf(axis)]);
  const shown = axis.endsWith("-log") ? at.filter((x) => x > 0) : at;
  const draw = (curves: Curves) => (
    <div key={curves.id}>
      <Chart
        {...chartOf(content, curves, axis)}
        xDomain={[Math.min(...shown), Math.max(...shown)]}
        cursor={at[state.moment.value]}
        onSelect={(x) => onSelect(minIndex(at, (one) => Math.abs(one - x)))}
      />
      <p class="note">{curves.note}</p>
    </div>
  );
  return (
    <div class="stack training-curves">
      {all.slice(0, 2).map(draw)}
      {all.length > 2 && <Disclosure summary="More curves">{() => all.slice(2).map(draw)}</Disclosure>}
      <Select label="Horizontal axis" of={state.axis} choices={AXES} />
    </div>
  );
}
