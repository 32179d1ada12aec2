/**
 * Panel "The LSTM at work".
 */
import { fill, h } from "../ui/dom.js";

/** @type {import("./panel.js").Panel} */
export const lstmPanel = {
  id: "lstm",
  needs: ["lstm"],
  title: "The LSTM at work",
  question: "",
  observe: "",
  limit: "",
  unavailable: (explorer) => (explorer.manifest.lstms.length ? null : "There is no LSTM run in this file."),
  async mount(root) {
    fill(root, h("p", {}, ""));
    return { view: () => ({}) };
  },
};
