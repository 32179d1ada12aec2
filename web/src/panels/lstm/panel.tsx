/** Panel "The LSTM at work": every value of the network over time, for a sequence that the user types. */
import { effect, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { announceSoon } from "../../kit/announce";
import { isPhone } from "../../kit/player";
import { loadLstm } from "../../lstm/lstm";
import { networkPanel, runPanel } from "../../page/panel";
import { Charts } from "./charts";
import { ComparisonControls, NetworkControls, SelectionControls, SequenceControls } from "./controls";
import { DropoutControls, Spread } from "./dropout";
import { Details } from "./equations";
import { Maps } from "./maps";
import { makeModel, type Model } from "./model";
import { Carrier, Hints, Result } from "./result";
import { stepText } from "./scene";
import { openState, type Selected } from "./state";

const ANNOUNCE_PAUSE = 700;

export function LstmAtWork({ model }: { model: Model }) {
  const { content, isBusy, scene, selected, traced } = model;
  const spread = useSignal(false);
  const element = useRef<HTMLDivElement>(null);
  const textOf = (selector: string) => element.current?.querySelector<HTMLElement>(selector)?.innerText ?? "";
  useEffect(() => effect(model.follow), [model]);
  const known = useRef(traced.value);
  useEffect(() => {
    if (known.current === traced.value) return; // nobody has done anything yet
    known.current = traced.value;
    announceSoon(() => textOf(".lstm-result"), ANNOUNCE_PAUSE);
  }, [traced.value]);
  const onSelect = (cell: Partial<Selected>) => {
    model.select(cell);
    if (!cell.map) return;
    const { step, unit } = selected.value;
    const place = `${stepText(scene.value, step)}, unit ${unit + 1}`;
    announceSoon(() => `${place}: ${textOf(".lstm-equations .selected")}`, 0); // once its equation is there
  };
  const pictures = { scene: scene.value, selected: selected.value, onSelect };
  return (
    <div class="stack lstm" ref={element} aria-busy={isBusy.value}>
      <div class="columns lstm-main">
        <section aria-label="Controls">
          <SequenceControls model={model} />
          <details open={!isPhone()}>
            <summary>Settings</summary>
            <div class="stack">
              <SelectionControls model={model} />
              <ComparisonControls model={model} />
              <NetworkControls model={model} />
              <DropoutControls model={model} spread={spread} />
            </div>
          </details>
        </section>
        <section class="lstm-picture" aria-label="Picture">
          {spread.value && <Spread model={model} />}
          <Result model={model} />
          <Carrier model={model} />
          <Maps {...pictures} />
          <Charts {...pictures} />
          <Details {...pictures} />
          <Hints content={content} />
        </section>
      </div>
    </div>
  );
}

export const lstmPanel = runPanel({
  ...networkPanel("lstm"),
  id: "lstm",
  needs: ["lstm"],
  title: "The LSTM at work",
  guide: {
    about:
      "An LSTM reads one step after the other. Gates from 0 to 1 say what it keeps, adds and shows of its memory c.",
    question: "How does the network carry what it reads to the step that needs it?",
    observe:
      "Change the first step and look at the difference. Which units keep it in their cell state c to the end? What do their forget gates f do meanwhile?",
    caveat:
      "A picture shows what changes together, not what causes what. Many units share one memory, and another training stores it in other units.",
  },
  load: loadLstm,
  open(lstm, content, view) {
    const state = openState(content, view);
    const model = makeModel(lstm, state);
    return { view: () => state.write(model.selected.value), body: <LstmAtWork model={model} /> };
  },
});
