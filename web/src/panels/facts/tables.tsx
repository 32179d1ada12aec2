/** Facts of one run, or of two side by side, as tables. */
import { formatExact } from "../../kit/format";
import type { Item } from "../../kit/manifest";
import type { Run } from "../../kit/runs";
import { ScrollTable } from "../../kit/table";

const valueColumns = (runs: Run[], alone = "value") => (runs.length > 1 ? runs.map(({ name }) => name) : [alone]);

/** Facts of several runs, joined by their labels in the order of the first run. */
function joinFacts(lists: Item[][]): { label: string; facts: (Item | undefined)[] }[] {
  const labels = [...new Set(lists.flat().map(({ label }) => label))];
  return labels.map((label) => ({ label, facts: lists.map((list) => list.find((fact) => fact.label === label)) }));
}

export const FactTable = ({ runs }: { runs: Run[] }) => (
  <ScrollTable
    name="Facts about the run"
    columns={["fact", ...valueColumns(runs)]}
    rows={joinFacts(runs.map(({ facts }) => facts.run)).map(({ label, facts }) => ({
      head: label,
      cells: facts.map((fact) => [fact?.value ?? "–", fact?.note && <div class="note">{fact.note}</div>]),
    }))}
  />
);

export function SettingsTable({ runs, few }: { runs: Run[]; few: boolean }) {
  const isPair = runs.length > 1;
  const rows = joinFacts(runs.map(({ facts }) => facts.config)).map(({ label, facts }) => ({
    head: <code>{label}</code>,
    marked: isPair ? facts.some((fact) => fact?.value !== facts[0]?.value) : facts[0]?.note === "changed",
    cells: facts.map((fact) =>
      fact?.note === "changed" ? (
        <>
          <strong>{fact.value}</strong>
          <span class="note"> changed</span>
        </>
      ) : (
        (fact?.value ?? "–")
      ),
    ),
  }));
  const shown = few ? rows.filter(({ marked }) => marked) : rows;
  if (!shown.length) return <p>{isPair ? "The runs have the same settings." : "Every setting has its default."}</p>;
  const name = isPair ? "Settings of both runs" : "Settings";
  return <ScrollTable name={name} columns={["setting", ...valueColumns(runs)]} rows={shown} />;
}

export function Scores({ runs }: { runs: Run[] }) {
  const names = [...new Set(runs.flatMap(({ facts }) => facts.scores.map(({ name }) => name)))];
  if (!names.length) return null;
  const rows = names.map((name) => {
    const scores = runs.map(({ facts }) => facts.scores.find((score) => score.name === name));
    const known = scores.find(Boolean);
    return {
      head: name,
      cells: [...scores.map((score) => score?.value ?? "–"), known?.real ?? "–", known?.noise ?? "–"],
    };
  });
  const notes = [...new Set(runs.map(({ facts }) => facts.scoresNote).filter(Boolean))];
  return (
    <section>
      <h3>Scores at the end</h3>
      <div>
        <ScrollTable
          name="Scores"
          columns={["score", ...valueColumns(runs, "this run"), "real images", "noise"]}
          rows={rows}
        />
        {notes.map((note) => (
          <p key={note} class="note">
            {note}
          </p>
        ))}
      </div>
    </section>
  );
}

export function Roundings({ runs }: { runs: Run[] }) {
  const rows = runs.flatMap((run) =>
    run.facts.rounding.map(({ network, unit, max, mean }) => ({
      head: (
        <>
          {runs.length > 1 ? `${network} of ${run.name}` : network}
          <div class="note">error of a {unit}</div>
        </>
      ),
      cells: [formatExact(max), formatExact(mean)],
    })),
  );
  if (!rows.length) return null;
  return (
    <section>
      <h3>Rounding</h3>
      <p class="note">
        This file has its weights in half precision (fp16), so that it stays small. The errors compare its networks with
        the trained ones.
      </p>
      <ScrollTable name="Rounding errors" columns={["network", "largest error", "mean error"]} rows={rows} />
    </section>
  );
}
