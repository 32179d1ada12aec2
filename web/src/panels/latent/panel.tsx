/**
 * Panel "Latent interpolation": two ends, a path between them, and what lies on it.
 *
 * The fragment keeps `run`, `start` and `end` (see gan/latents.ts), `t`, `path`, `steps`, and `code`, a view code with the
 * latents of ends that another panel passed on. A fragment with a code alone takes ends, path and steps from it.
 */
import { loadGan } from "../../gan/gan";
import { runPanel } from "../../page/panel";
import { makeModel } from "./model";
import { Latent } from "./view";

export const latentPanel = runPanel({
  id: "latent",
  tutorial: "gan",
  needs: ["generator", "discriminator", "classifier"],
  title: "Latent interpolation",
  question: "What lies between two generated images?",
  observe: "Move t from 0 to 1. Find the place where one class becomes another. Does D notice it?",
  limit:
    "D and the classifier do not know that the images belong together. Neither tells whether a person would take an image for real.",
  none: "There is no GAN run in this file.",
  runs: ({ gans }) => gans,
  load: loadGan,
  open(gan, _, view) {
    const model = makeModel(gan, view);
    return { view: model.write, body: <Latent model={model} /> };
  },
});
