/** State of the panel, and its form in the fragment. */
import { AXES, curvesOf } from "../../charts/curves";
import type { Snapshots } from "../../gan/gan";
import { field, integer, oneOf, optional, type State } from "../../kit/codec";
import type { RecordedGan } from "../../kit/manifest";

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
