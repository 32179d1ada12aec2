/**
 * Panel "Draw a digit".
 */
import { fill, h } from "../ui/dom.js";

/** @type {import("./panel.js").Panel} */
export const drawPanel = {
  id: "draw",
  title: "Draw a digit",
  question: "",
  observe: "",
  limit: "",
  unavailable: (explorer) => (explorer.manifest.gans.length ? null : "There is no GAN run in this file."),
  async mount(root) {
    fill(root, h("p", {}, ""));
    return { view: () => ({}) };
  },
};
