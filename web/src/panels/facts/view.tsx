/** Everything about one run or two. */
import { useMemo } from "preact/hooks";
import { bound, Select, Toggle, type Cell } from "../../kit/controls";
import { CopyField } from "../../kit/copy";
import type { Manifest } from "../../kit/manifest";
import type { Run } from "../../kit/runs";
import { RunCurves } from "./curves";
import { Pair } from "./pair";
import type { FactsState } from "./panel";
import { FactTable, Roundings, Scores, SettingsTable } from "./tables";

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
