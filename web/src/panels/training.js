/**
 * Panel "Training time".
 */
import { fill, h } from "../ui/dom.js";

/** @type {import("./panel.js").Panel} */
export const trainingPanel = {
  id: "training",
  title: "Training time",
  question: "",
  observe: "",
  limit: "",
  unavailable: (explorer) => (explorer.manifest.gans.length ? null : "There is no GAN run in this file."),
  async mount(root) {
    fill(root, h("p", {}, ""));
    return { view: () => ({}) };
  },
};
