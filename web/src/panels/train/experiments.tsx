/**
 * Experiments: a question, two runs of one seed that differ in one setting, what to watch, and what Python gave over seeds.
 *
 * experiments.json declares them, also for `python -m benchmarks experiments`, which measures them.
 */
import measured from "../../../../docs/measurements/experiments.json";
import { Button } from "../../kit/controls";
import { ScrollTable } from "../../kit/table";
import { tutorialAddress } from "../../page/masthead";
import type { Kind } from "../../train/protocol";
import type { Values } from "../../train/settings";
import definitions from "./experiments.json";

export interface Experiment {
  id: string;
  question: string;
  watch: string;
  /** Of the first and of the second run. */
  names: string[];
  /** Settings of both runs. */
  base: Values;
  /** Settings of the second one. */
  change: Values;
  /** Of the GAN, about, in place of epochs. */
  updates?: number;
}

/** Each ends by itself within a minute. */
export const EXPERIMENTS = definitions as unknown as Record<Kind, Experiment[]>;

/** Measures of the two runs of each experiment, over seeds. */
const MEASURED: Record<string, { measures: Record<string, number[][]> }> = measured.results;

interface ExperimentsProps {
  kind: Kind;
  chosen: Experiment | undefined;
  onBegin: (one: Experiment) => void;
}

export function Experiments({ kind, chosen, onBegin }: ExperimentsProps) {
  const href = chosen && tutorialAddress(kind, `experiment-${chosen.id}`);
  return (
    <section class="card stack" aria-label="Experiments">
      <h3>Experiments</h3>
      <div class="stack train-experiments">
        {EXPERIMENTS[kind].map((one) => (
          <Button key={one.id} aria-pressed={chosen === one} onClick={() => onBegin(one)}>
            {one.question}
          </Button>
        ))}
      </div>
      {chosen ? (
        <>
          <p class="note">{chosen.watch}</p>
          <Measured one={chosen} />
          {href && <a href={href}>How it works: the tutorial</a>}
        </>
      ) : (
        <p class="note">Each trains two runs of one seed that differ in one setting, beside each other.</p>
      )}
    </section>
  );
}

/** What Python's runs with the same settings and numbers of updates gave. */
function Measured({ one: { id, names } }: { one: Experiment }) {
  const rows = Object.entries(MEASURED[id].measures).map(([head, lines]) => ({
    head,
    cells: lines.map(medianAndRange),
  }));
  return (
    <>
      <p class="note">{`Python, with these settings and ${measured.seeds} seeds, at the end (median and range):`}</p>
      <ScrollTable name="What Python gave" columns={["Measure", ...names]} rows={rows} />
    </>
  );
}

/** Fractions as percentages: a mean ± its deviation may reach beyond 100 %. */
function medianAndRange(values: number[]) {
  const sorted = values.map((value) => Math.round(100 * value)).sort((a, b) => a - b);
  return `${sorted[sorted.length >> 1]}\u00a0% (${sorted[0]}\u2060–\u2060${sorted.at(-1)})`;
}
