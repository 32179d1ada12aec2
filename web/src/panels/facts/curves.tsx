/** State of the panel, and the curves of a run, or of two runs: then each chart has one metric of both. */
import { useMemo } from "preact/hooks";
import { Chart } from "../../charts/chart";
import { AXES, chartOf, curvesOf, type Curves } from "../../charts/curves";
import { field, oneOf, optional, type State } from "../../kit/codec";
import { Select } from "../../kit/controls";
import type { Run } from "../../kit/runs";
import { Disclosure } from "../../kit/table";

export function fieldsOf(others: Run[]) {
  const run = field(
    others[0],
    (text) => others.find(({ id }) => id === text),
    ({ id }) => id,
  );
  return {
    with: optional(run),
    axis: oneOf(AXES.map(([axis]) => axis)),
    settings: { ...oneOf(["few", "all"]), write: (settings: string) => (settings === "all" ? settings : null) },
  };
}

export type FactsState = State<ReturnType<typeof fieldsOf>>;

const NUM_FIRST = 4; // Charts that are shown at once; a click shows the others

const split = (curves: Curves): Curves[] =>
  Object.entries(curves.columns).map(([key, name], _, { length }) => ({
    ...curves,
    title: length > 1 ? `${curves.title}: ${name}` : curves.title,
    columns: { [key]: name },
  }));

/** Returns the horizontal lines of some curves: the same for all runs, or else those of each run, with its name. */
function sharedReferences(runs: Run[], curves: Curves) {
  const lists = runs.map((run) => curves.references?.(run) ?? []);
  if (lists.every((list) => JSON.stringify(list) === JSON.stringify(lists[0]))) return lists[0];
  return lists.flatMap((list, k) => list.map((line) => ({ ...line, name: `${line.name}, ${runs[k].name}` })));
}

export function RunCurves({ runs, state }: { runs: Run[]; state: FactsState }) {
  const axis = state.axis.value;
  const charts = useMemo(() => {
    const all = curvesOf(runs[0], runs);
    return (runs.length > 1 ? all.flatMap(split) : all).map((curves) => (
      <div key={`${curves.title} ${axis}`}>
        <Chart
          {...chartOf(runs[0], curves, axis)}
          series={runs.flatMap((run) =>
            chartOf(run, curves, axis).series.map((one) => (runs.length > 1 ? { ...one, name: run.name } : one)),
          )}
          references={sharedReferences(runs, curves)}
        />
        {curves.note && <p class="note">{curves.note}</p>}
      </div>
    ));
  }, [runs, axis]);
  const more = charts.slice(NUM_FIRST);
  return (
    <>
      <Select label="Horizontal axis" of={state.axis} choices={AXES} />
      {charts.length ? (
        <div class="stack">
          <div class="columns halves facts-charts">{charts.slice(0, NUM_FIRST)}</div>
          {more.length > 0 && (
            <Disclosure summary={`${more.length} more curves`}>
              {() => <div class="columns halves facts-charts">{more}</div>}
            </Disclosure>
          )}
        </div>
      ) : (
        <p>This run has no records yet.</p>
      )}
    </>
  );
}
