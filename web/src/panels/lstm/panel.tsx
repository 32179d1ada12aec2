/** Panel "The LSTM at work": every value of the network over time, for a sequence that the user types. */
import { loadLstm } from "../../lstm/lstm";
import { runPanel } from "../../page/panel";
import { makeModel } from "./model";
import { openState } from "./state";
import { LstmAtWork } from "./view";

export const lstmPanel = runPanel({
  id: "lstm",
  tutorial: "lstm",
  needs: ["lstm"],
  title: "The LSTM at work",
  question: "How does the network carry what it reads to the step that needs it?",
  observe:
    "Change the first step and look at the difference. In which units does the cell state c keep it to the end? What do their forget gates f do meanwhile?",
  limit:
    "A picture shows what changes together, not what causes what. Many units share one memory, and another training stores it in other units.",
  none: "There is no LSTM run in this file.",
  runs: ({ lstms }) => lstms,
  load: loadLstm,
  open(lstm, content, view) {
    const state = openState(content, view);
    const model = makeModel(lstm, state);
    return { view: () => state.write(model.selected.value), body: <LstmAtWork model={model} /> };
  },
});
