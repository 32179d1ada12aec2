/**
 * Panel "Training time": the same latents through training, beside the curves.
 *
 * The fragment keeps `run`, `moment`, `image` (the latent that the filmstrip follows), `axis`, and the curves `first` and
 * `second`.
 */
import { curvesOf } from "../../charts/curves";
import { loadSnapshots, type Snapshots } from "../../gan/snapshots";
import { codec, field, integer, oneOf, optional, type State } from "../../kit/codec";
import type { GanContent } from "../../kit/manifest";
import { runPanel } from "../../page/panel";
import { AXES } from "./curves";
import { Training } from "./view";

/** What the fragment keeps of a run's panel. */
function fieldsOf(snapshots: Snapshots, content: GanContent) {
  const last = snapshots.moments.length - 1;
  const ids = curvesOf(content).flatMap(({ id }) => (id === "seconds" ? [] : [id]));
  const known = (wanted: string[]) => {
    const missing = [...wanted, ...ids].find((id) => ids.includes(id)) ?? "";
    return field(missing, (text) => ids.find((id) => id === text), String);
  };
  return {
    moment: integer(0, last, last),
    image: optional(integer(0, snapshots.count - 1)),
    axis: oneOf(AXES.map(([axis]) => axis)),
    first: known(["gan-loss"]),
    second: known(["fid", "probability"]),
  };
}

export type TrainingState = State<ReturnType<typeof fieldsOf>>;

export const trainingPanel = runPanel({
  id: "training",
  tutorial: "gan",
  needs: ["generator", "snapshots"],
  title: "Training time",
  question: "What does the generator learn first, and what last?",
  observe: "Choose one image and follow it. When does it look like a digit, and does it still become another one?",
  limit:
    "25 images say little about quality or variety: that is what the scores are for. A falling loss does not mean better images, since each network trains against the other.",
  none: "No GAN run in this file has pictures of its training.",
  runs: ({ gans }) => gans.filter(({ snapshots }) => snapshots?.moments.length),
  load: loadSnapshots,
  open(snapshots, content, view) {
    const fields = codec(fieldsOf(snapshots, content));
    const state = fields.read(view);
    return { view: () => fields.write(state), body: <Training {...{ snapshots, content, state }} /> };
  },
});
