/**
 * Panel "Map": the images of a plane in latent space.
 *
 * The fragment keeps `run`, `plane`, the latents `a`, `b`, `c` (see gan/latents.ts), the middle `x`, `y`, `extent`, `count`
 * and `show`.
 */
import { loadGan } from "../../gan/gan";
import { runPanel } from "../../page/panel";
import { makeModel } from "./model";
import { LatentMap } from "./view";

export const mapPanel = runPanel({
  id: "map",
  tutorial: "gan",
  needs: ["generator", "discriminator", "classifier"],
  title: "Map",
  question: "How is the latent space ordered?",
  observe: "Move across the map. Where do the images change at once, and where do they become blurred?",
  limit:
    "The map shows one plane of a space with many dimensions. Away from the chosen latents, z may be shorter or longer than any latent of the training.",
  none: "There is no GAN run in this file.",
  runs: ({ gans }) => gans,
  load: loadGan,
  open(gan, _, view) {
    const model = makeModel(gan, view);
    return { view: model.write, body: <LatentMap model={model} /> };
  },
});
