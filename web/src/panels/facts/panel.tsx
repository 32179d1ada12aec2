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
import { bound, Select, Toggle } from "../../kit/controls";
import { CopyField } from "../../kit/copy";
import type { Manifest } from "../../kit/manifest";
import { allRuns, hasNetworks, isGan, RECORDED, type Run } from "../../kit/runs";
import type { Panel } from "../../page/panel";
import { AXES, RunCurves } from "./curves";
import { chosenPair, Pair } from "./pair";
import { FactTable, Roundings, Scores, SettingsTable } from "./tables";

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
    settings: { ...oneOf(["few", "all"]), write: (settings: string) => (settings === "all" ? settings : null) },
    left: picture,
    right: picture,
  };
}

export type FactsState = State<ReturnType<typeof fieldsOf>>;

/** Runs to compare a run with. */
const othersOf = (run: Run, runs: Run[]) => runs.filter((one) => one !== run && isGan(one) === isGan(run));

const byName = (runs: Run[]) => runs.map(({ id, name }) => [id, name] as const);

function Facts({ manifest, state }: { manifest: Manifest; state: FactsState }) {
  const runs = allRuns(manifest);
  const [run, other] = [state.run.value, state.with.value];
  const shown = useMemo(() => (other ? [run, other] : [run]), [run, other]);
  const others = othersOf(run, runs);
  const chooseRun = (id: string) => {
    batch(() => {
      state.run.value = runs.find((one) => one.id === id)!;
      state.with.value = null;
      state.left.value = state.right.value = "";
    });
    announce(`Facts of ${state.run.value.name}.`);
  };
  const chooseOther = (id: string) => {
    const chosen = (state.with.value = runs.find((one) => one.id === id) ?? null);
    announce(chosen ? `${run.name} beside ${chosen.name}.` : `Only ${run.name}.`);
  };
  const few = bound(state.settings.value === "few", (isFew) => (state.settings.value = isFew ? "few" : "all"));
  return (
    <>
      {runs.length > 1 && (
        <div class="row controls">
          <Select label="Run" of={bound(run.id, chooseRun)} choices={byName(runs)} />
          {others.length > 0 && (
            <Select
              label="Compare with"
              of={bound(other?.id ?? "", chooseOther)}
              choices={[["", "no other run"], ...byName(others)]}
            />
          )}
        </div>
      )}
      <div class="stack facts-body">
        <section>
          <h3>Curves</h3>
          {!hasNetworks(run) && <p class="note">{RECORDED}</p>}
          <RunCurves runs={shown} state={state} />
        </section>
        <div class="columns halves">
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
        <div class="columns halves">
          <section>
            <h3>Run</h3>
            <FactTable name="Facts about the run" runs={shown} of="run" />
          </section>
          <section>
            <h3>Settings</h3>
            <Toggle label={other ? "Only different settings" : "Only changed settings"} of={few} />
            <SettingsTable runs={shown} few={few.value} />
          </section>
        </div>
        <section>
          <h3>Licenses</h3>
          <FactTable name="Licenses" runs={shown} of="licenses" />
        </section>
      </div>
    </>
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
  async open(manifest, view) {
    const runs = allRuns(manifest);
    const fields = codec(fieldsOf(runs));
    const state = fields.read(view);
    if (state.with.value && !othersOf(state.run.value, runs).includes(state.with.value)) state.with.value = null;
    const write = () => {
      const pair = chosenPair(state, manifest);
      return { ...fields.write(state), ...(pair && { left: pair.left.id, right: pair.right.id }) };
    };
    return { view: write, body: <Facts {...{ manifest, state }} /> };
  },
};
