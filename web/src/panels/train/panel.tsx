/**
 * Panel "Train": an LSTM that learns palindromes, or a GAN, in the page, as `reviver lstm train` and `reviver gan train` train
 * them.
 *
 * The fragment keeps `net`, the settings that differ from those of the report, `digits`, which the LSTM reads, `with`, a run
 * of Python, and `experiment`. The session outlives the panel, so that a reader who comes back finds the run, paused.
 */
import type { Panel } from "../../page/panel";
import { readKept } from "./kept";
import { lessonParts } from "./lesson_parts";
import { makeModel } from "./model";
import { Session } from "./session";
import { writeState } from "./settings";
import { Train } from "./view";

export const session = new Session();

void readKept().then((run) => (session.kept.value = run ?? null));

/** Asks before the page closes with updates that nobody saved. */
const warn = (event: Event) => session.isUnsaved && event.preventDefault();

export const trainPanel: Panel = {
  id: "train",
  tutorial: "lstm",
  needs: ["images", "training"],
  title: "Train",
  guide: {
    question: "What changes in a network while it learns?",
    observe:
      "Follow the gates of one palindrome: which units begin to keep what they have read, and when does the accuracy jump? Of a GAN, follow D's two curves.",
    caveat:
      "One run is one seed: another seed learns earlier or later. So a difference between two runs says little until other seeds show it too.",
  },
  unavailable: () => null,
  async open(manifest, view) {
    const model = makeModel(manifest, session, view);
    addEventListener("beforeunload", warn);
    return { view: () => writeState(model.state), body: <Train model={model} />, parts: lessonParts(model) };
  },
};
