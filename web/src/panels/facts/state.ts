/** State of the panel, and its form in the fragment. */
import { AXES } from "../../charts/curves";
import { field, oneOf, optional, type State } from "../../kit/codec";
import type { Run } from "../../kit/runs";

export function fieldsOf(others: Run[]) {
  const run = field(
    others[0],
    (text) => others.find(({ id }) => id === text),
    ({ id }) => id,
  );
  // Written by `write`, once it is known what there is to compare.
  const picture = field("", String, () => null);
  return {
    with: optional(run),
    axis: oneOf(AXES.map(([axis]) => axis)),
    settings: { ...oneOf(["few", "all"]), write: (settings: string) => (settings === "all" ? settings : null) },
    left: picture,
    right: picture,
  };
}

export type FactsState = State<ReturnType<typeof fieldsOf>>;
