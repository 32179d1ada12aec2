/**
 * Panel "Curves and facts": what the records of a run say, alone or beside another run.
 *
 * The fragment keeps `run`, `with` (the other run), `axis`, `settings`, and `left` and `right`, the pictures to compare. Another
 * run has no other beside it, and its own pictures, so this is no panel of one run at a time.
 */
import { batch } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { announce } from "../../kit/announce";
import { codec, field, oneOf, optional, type State } from "../../kit/codec";
import { bound, cell, type Cell, Select, Toggle } from "../../kit/controls";
import { CopyField } from "../../kit/copy";
import type { Manifest } from "../../kit/manifest";
import { allRuns, isGan, type Run } from "../../kit/runs";
import type { Panel } from "../../page/panel";
import { AXES, RunCurves } from "./curves";
import { chosenPair, Pair } from "./pair";
import { FactTable, Roundings, Scores, SettingsTable } from "./tables";

const sameKind = (a: Run, b: Run) => a !== b && isGan(a) === isGan(b);

function fieldsOf(runs: Run[]) {
  const run = field(
    runs[0],
    (text) => runs.find(({ id }) => id === text),
    ({ id }) => (runs.length > 1 ? id : null),
  );
  // Written by `write`, once it is known what there is to compare.
  const picture = field("", String, () => null);
  return {
    run,
    with: optional(run),
    axis: oneOf(AXES.map(([axis]) => axis)),
    settings: field(
      "few",
      (text) => (text === "all" ? text : undefined),
      (text) => (text === "all" ? text : null),
    ),
    left: picture,
    right: picture,
  };
}

export type FactsState = State<ReturnType<typeof fieldsOf>>;

function open(manifest: Manifest, view: URLSearchParams) {
  const runs = allRuns(manifest);
  const fields = codec(fieldsOf(runs));
  const state = fields.read(view);
  const { run, with: other, left, right } = state;
  const others = () => runs.filter((one) => sameKind(run.value, one));
  if (other.value && !others().includes(other.value)) other.value = null;
  const chosenRun = cell(
    () => run.value.id,
    (id) => {
      batch(() => {
        run.value = runs.find((one) => one.id === id)!;
        other.value = null;
        left.value = right.value = "";
      });
      announce(`Facts of ${run.value.name}.`);
    },
  );
  const chosenOther = cell(
    () => other.value?.id ?? "",
    (id) => {
      other.value = runs.find((one) => one.id === id) ?? null;
      announce(other.value ? `${run.value.name} beside ${other.value.name}.` : `Only ${run.value.name}.`);
    },
  );
  const write = () => {
    const pair = chosenPair(state, manifest);
    return { ...fields.write(state), ...(pair && { left: pair.left.id, right: pair.right.id }) };
  };
  return { view: write, body: <Facts {...{ manifest, runs, state, others, chosenRun, chosenOther }} /> };
}

interface FactsProps {
  manifest: Manifest;
  runs: Run[];
  state: FactsState;
  /** Runs to compare with. */
  others: () => Run[];
  chosenRun: Cell<string>;
  chosenOther: Cell<string>;
}

const byName = (runs: Run[]) => runs.map(({ id, name }) => [id, name] as const);

export function Facts({ manifest, runs, state, others, chosenRun, chosenOther }: FactsProps) {
  const [run, other] = [state.run.value, state.with.value];
  const shown = useMemo(() => (other ? [run, other] : [run]), [run, other]);
  return (
    <>
      {runs.length > 1 && (
        <div class="row controls">
          <Select label="Run" of={chosenRun} choices={byName(runs)} />
          {others().length > 0 && (
            <Select label="Compare with" of={chosenOther} choices={[["", "no other run"], ...byName(others())]} />
          )}
        </div>
      )}
      <div class="facts-body">
        <section>
          <h3>Curves</h3>
          <RunCurves runs={shown} state={state} />
        </section>
        <div class="columns">
          <Scores runs={shown} />
          <Roundings runs={shown} />
        </div>
        <Pair state={state} manifest={manifest} />
        <section>
          <h3>{other ? "Commands that repeat the runs" : "Command that repeats the run"}</h3>
          {shown.map(({ id, name, facts }) => (
            <CopyField
              key={id}
              text={facts.command}
              copy={other ? `Copy the command of ${name}` : "Copy the command"}
            />
          ))}
        </section>
        <div class="columns">
          <section>
            <h3>Run</h3>
            <FactTable name="Facts about the run" runs={shown} of="run" />
          </section>
          <Settings runs={shown} state={state} />
        </div>
        <section>
          <h3>Licenses</h3>
          <FactTable name="Licenses" runs={shown} of="licenses" />
        </section>
      </div>
    </>
  );
}

function Settings({ runs, state: { settings } }: { runs: Run[]; state: FactsState }) {
  const few = bound(settings.value === "few", (isFew) => (settings.value = isFew ? "few" : "all"));
  return (
    <section>
      <h3>Settings</h3>
      <Toggle label={runs.length > 1 ? "Only different settings" : "Only changed settings"} of={few} />
      <SettingsTable runs={runs} few={few.value} />
    </section>
  );
}

export const factsPanel: Panel = {
  id: "facts",
  tutorial: "gan",
  needs: ["generator", "snapshots"],
  title: "Curves and facts",
  question: "How did this run go, and can somebody repeat it?",
  observe: "Compare the last values of a curve with its baseline: how much better could it still become?",
  limit:
    "One run is one random seed. Another seed gives other curves, so a small difference between two runs proves nothing.",
  unavailable: (manifest) => (allRuns(manifest).length ? null : "There is no run in this file."),
  open: async (manifest, view) => open(manifest, view),
};
