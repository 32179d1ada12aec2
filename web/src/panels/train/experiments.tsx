/** The experiments: a reader guesses, both runs train, then Python's seeds answer. */
import { useComputed } from "@preact/signals";
import { Button } from "../../kit/controls";
import { ScrollTable } from "../../kit/table";
import { tutorialAddress } from "../../page/masthead";
import { answerOf, EXPERIMENTS, MEASURED, SEEDS, type Experiment } from "./experiment";
import type { Model } from "./model";

export function Experiments({ model: { session, state, guess, prepare, begin, ...model } }: { model: Model }) {
  const kind = state.kind.value;
  const chosen = model.chosen.value;
  const href = chosen && tutorialAddress(kind, `experiment-${chosen.id}`);
  const lines = useComputed(() => session.lines.value.length);
  const isOver = useComputed(() => session.lines.value.every(({ seen }) => seen.status.isFinished));
  const hasBegun = lines.value > 1;
  return (
    <details open={Boolean(chosen)}>
      <summary>Experiments</summary>
      <section class="stack train-experiments" aria-label="Experiments">
        {EXPERIMENTS[kind].map((one) => (
          <Button key={one.id} aria-pressed={chosen === one} onClick={() => prepare(one)}>
            {one.question}
          </Button>
        ))}
        {!chosen && <p class="note">Each trains two runs of one seed that differ in one setting, beside each other.</p>}
        {chosen && (
          <>
            <p class="note">{chosen.watch}</p>
            {!hasBegun && (
              <fieldset class="field">
                <legend>{`Your guess first: ${chosen.guess.question}`}</legend>
                <div class="row">
                  {chosen.names.map((name, k) => (
                    <Button key={k} onClick={() => begin(chosen, k)}>
                      {name}
                    </Button>
                  ))}
                </div>
              </fieldset>
            )}
            {hasBegun && guess.value !== null && <p>{`You guessed: ${chosen.names[guess.value]}.`}</p>}
            {hasBegun && !isOver.value && <p class="note">Python’s answer appears when both runs are at their end.</p>}
            {hasBegun && isOver.value && <Answer one={chosen} guess={guess.value} />}
            {href && <a href={href}>How it works: the tutorial</a>}
          </>
        )}
      </section>
    </details>
  );
}

/** What Python's runs with the same settings and numbers of updates gave. */
function Answer({ one, guess }: { one: Experiment; guess: number | null }) {
  const answer = answerOf(one);
  const rows = Object.entries(MEASURED[one.id].measures).map(([head, lines]) => ({
    head,
    cells: lines.map(medianAndRange),
  }));
  return (
    <>
      <p>
        {answer === null
          ? "Five seeds in Python show no clear difference."
          : `All ${SEEDS} seeds in Python say: ${one.names[answer]}.`}
        {answer !== null &&
          guess !== null &&
          (guess === answer ? " You guessed right." : " You guessed the other one.")}
      </p>
      <p class="note">{`Python, with these settings and ${SEEDS} seeds, at the end (median and range):`}</p>
      <ScrollTable name="What Python gave" columns={["Measure", ...one.names]} rows={rows} />
    </>
  );
}

/** Fractions as percentages: a mean ± its deviation may reach beyond 100 %. */
function medianAndRange(values: number[]) {
  const sorted = values.map((value) => Math.round(100 * value)).sort((a, b) => a - b);
  return `${sorted[sorted.length >> 1]}\u00a0% (${sorted[0]}\u2060–\u2060${sorted.at(-1)})`;
}
