/**
 * Panel "Train": an LSTM that learns palindromes, or a GAN, in the page, as `reviver lstm train` and `reviver gan train` train
 * them.
 *
 * The fragment keeps `net`, the settings that differ from those of the report, `digits`, which the LSTM reads, `with`, a run
 * of Python, and `experiment`. The session outlives the panel, so that a reader who comes back finds the run, paused.
 */
import type { Manifest } from "../../kit/manifest";
import type { Panel } from "../../page/panel";
import { readImages } from "../../train/images";
import { Session } from "./session";
import { openState, problemsOf, writeState } from "./settings";
import { Train } from "./view";

const session = new Session();

/** Asks before the page closes with updates that nobody saved. */
const warn = (event: Event) => session.isUnsaved && event.preventDefault();

/** What a GAN of the page can learn from: the images of MNIST in it, or those that a run trained on. */
function imagesOf({ gans, trainingImages }: Manifest) {
  const run = gans.find(({ training, imageShape: [C, H, W] }) => training && C === 1 && H === W);
  const from = trainingImages ?? (run && { data: run.training!, source: null, classifier: run.classifier });
  if (!from) return null;
  const { data, source, classifier } = from;
  const count = Math.floor(data.tensors.images.shape[0] / 8) * 8;
  return {
    name: trainingImages ? "digits of MNIST" : `training images of ${run!.name}`,
    ...{ count, data: source, classNames: classifier?.classNames ?? [] },
    load: () => readImages(from, count),
  };
}

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
    const state = openState(view);
    const images = imagesOf(manifest);
    session.python = { version: manifest.version, lstmConfig: manifest.lstmConfig, ganConfig: manifest.ganConfig };
    session.images = async () => images && images.load();
    const problems = problemsOf(state, view);
    addEventListener("beforeunload", warn);
    return {
      view: () => writeState(state),
      body: <Train {...{ manifest, session, state, problems, images }} />,
    };
  },
};
