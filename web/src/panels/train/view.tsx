/** What trains on one screen: its settings, what the network makes of one palindrome or of 25 latents, and its curves. */
import { useLayoutEffect } from "preact/hooks";
import { isPhone } from "../../kit/player";
import { Bar, News } from "./bar";
import { Below } from "./below";
import { Curves, Densities } from "./curves";
import { Question, Verdict } from "./experiments";
import type { Model } from "./model";
import { Picture, useCells } from "./picture";
import { MoreSettings, Presets, Steps } from "./settings_card";
import { Task } from "./task";

export function Train({ model }: { model: Model }) {
  const { session, state, own, digits, problems } = model;
  const cells = useCells();
  const chosen = model.chosen.value;
  // Before anybody can press Start: effects after the next picture come late in a hidden tab, and would discard what it began.
  useLayoutEffect(() => {
    model.start();
    return () => session.pause();
  }, []);
  useLayoutEffect(() => void session.read(digits.value), [digits.value]);
  return (
    <div
      class="stack run-panel run-body train"
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        void model.take([...(event.dataTransfer?.files ?? [])]);
      }}
    >
      <Bar model={model} />
      <News model={model} />
      <div class={`train-main ${chosen ? "train-experiment" : ""}`}>
        {chosen ? <Question model={model} one={chosen} /> : <Task model={model} />}
        {!chosen && (
          <section class="stack train-left" aria-label="Settings">
            <details open={!isPhone()}>
              <summary>Settings</summary>
              <div class="stack">
                <Presets model={model} />
                <Steps model={model} />
              </div>
            </details>
            <details open={Object.keys(problems).length > 0}>
              <summary>More settings</summary>
              <MoreSettings model={model} />
            </details>
            {!own.value && (
              <p>
                <a href="#start?at=experiments">Ten experiments</a>
              </p>
            )}
          </section>
        )}
        <Picture {...{ model, cells }} />
        <section class="stack train-curves" aria-label="Curves">
          <Curves model={model} />
          {state.kind.value === "gan" && !chosen && <Densities lines={session.lines} />}
        </section>
        {chosen && <Verdict model={model} one={chosen} />}
      </div>
      {!chosen && <Below {...{ model, cells }} />}
    </div>
  );
}
