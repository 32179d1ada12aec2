/**
 * Panel "Train": an LSTM that learns palindromes in the page, as `reviver lstm train` trains it.
 *
 * The fragment keeps the settings that differ from those of the report, and `digits`, which the network reads. The session
 * outlives the panel, so that a reader who comes back finds the run, paused.
 */
import type { Panel } from "../../page/panel";
import { Session } from "./session";
import { problemsOf, trainCodec } from "./settings";
import { Train } from "./view";

const session = new Session();

export const trainPanel: Panel = {
  id: "train",
  tutorial: "lstm",
  needs: [],
  title: "Train",
  question: "How does an LSTM learn to remember the first digit to the end?",
  observe:
    "Start, and follow the gates of one palindrome. Which units begin to keep what they have read, and when does the accuracy jump?",
  limit:
    "One run is one seed: another seed learns earlier or later. So a difference between two runs says little until other seeds show it too.",
  unavailable: () => null,
  async open(_, view) {
    const state = trainCodec.read(view);
    const problems = problemsOf(view);
    return { view: () => trainCodec.write(state), body: <Train {...{ session, state, problems }} /> };
  },
};
