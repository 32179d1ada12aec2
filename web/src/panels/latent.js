/**
 * Panel "Latent interpolation".
 */
import { fill, h } from "../ui/dom.js";
import { imageCanvas } from "../ui/image.js";

/** @type {import("./panel.js").Panel} */
export const latentPanel = {
  id: "latent",
  title: "Latent interpolation",
  question: "What lies between two generated images?",
  observe: "Move from one end to the other and watch where one digit becomes another.",
  limit: "D judges single images. It does not know that the frames belong together.",
  unavailable: (explorer) => (explorer.manifest.gans.length ? null : "There is no GAN run in this file."),
  async mount(root, explorer) {
    const gan = await explorer.gan(explorer.manifest.gans[0].id);
    const images = gan.generate(gan.latents.grid);
    const canvases = Array.from({ length: images.length / gan.pixels }, (_, n) =>
      imageCanvas(images.subarray(n * gan.pixels, (n + 1) * gan.pixels), gan.content.imageShape, `sample ${n + 1}`),
    );
    fill(root, h("div", { class: "grid" }, ...canvases));
    return { view: () => ({}) };
  },
};
