/** Panel "Curves and facts": what the records of a run say, alone or beside another run. */
import { useMemo } from "preact/hooks";
import { announce } from "../../kit/announce";
import { codec } from "../../kit/codec";
import { bound, cell, Select, Toggle } from "../../kit/controls";
import { CopyField } from "../../kit/copy";
import { allRuns, hasNetworks, isGan, RECORDED, type Run } from "../../kit/runs";
import { runPanel } from "../../page/panel";
import { fieldsOf, type FactsState, RunCurves } from "./curves";
import { FactTable, Roundings, Scores, SettingsTable } from "./tables";

function Facts({ run, state }: { run: Run; state: FactsState }) {
  const other = state.with.value;
  const shown = useMemo(() => (other ? [run, other] : [run]), [run, other]);
  const few = bound(state.settings.value === "few", (isFew) => (state.settings.value = isFew ? "few" : "all"));
  return (
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
      <section>
        <h3>{other ? "Commands that repeat the runs" : "Command that repeats the run"}</h3>
        {shown.map(({ id, name, facts }) => (
          <CopyField key={id} text={facts.command} copy={other ? `Copy the command of ${name}` : "Copy the command"} />
        ))}
      </section>
      <div class="columns halves">
        <section>
          <h3>Run</h3>
          <FactTable runs={shown} />
        </section>
        <section>
          <h3>Settings</h3>
          <Toggle label={other ? "Only different settings" : "Only changed settings"} of={few} />
          <SettingsTable runs={shown} few={few.value} />
        </section>
      </div>
    </div>
  );
}

export const factsPanel = runPanel({
  id: "facts",
  tutorial: "gan",
  needs: ["generator"],
  title: "Curves and facts",
  guide: {
    question: "How did this run go, and can it be repeated?",
    observe: "Compare the last values of a curve with its baseline: how much better could it still become?",
    caveat:
      "One run is one random seed. Another seed gives other curves, so a small difference between two runs proves nothing.",
  },
  none: "There is no run in this file.",
  runs: allRuns,
  kept: ["axis", "settings"],
  load: async () => null,
  open(_, run, view, manifest) {
    const others = allRuns(manifest).filter((one) => one !== run && isGan(one) === isGan(run));
    const fields = codec(fieldsOf(others));
    const state = fields.read(view);
    const choose = (id: string) => {
      const chosen = (state.with.value = others.find((one) => one.id === id) ?? null);
      announce(chosen ? `${run.name} beside ${chosen.name}.` : `Only ${run.name}.`);
    };
    const other = cell(() => state.with.value?.id ?? "", choose);
    const names = others.map(({ id, name }) => [id, name] as const);
    return {
      view: () => fields.write(state),
      body: <Facts {...{ run, state }} />,
      controls: names.length > 0 && (
        <Select label="Compare with" of={other} choices={[["", "no other run"], ...names]} />
      ),
    };
  },
});
