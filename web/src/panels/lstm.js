/**
 * Panel "The LSTM at work": every value of the network over time, for a sequence that the user types.
 */
import { select } from "../ui/controls.js";
import { fill, h } from "../ui/dom.js";
import { readState } from "./lstm/state.js";
import { LstmView } from "./lstm/view.js";

/** @type {import("./panel.js").Panel} */
export const lstmPanel = {
  id: "lstm",
  tutorial: "lstm",
  needs: ["lstm"],
  title: "The LSTM at work",
  question: "How does the network carry what it reads to the step that needs it?",
  observe:
    "Change the first step and look at the difference. In which units does the cell state c keep it to the end? " +
    "Do their forget gates f stay near 1?",
  limit:
    "A picture shows what changes together, not what causes what. Many units share one memory, and another training " +
    "stores it in other units.",
  unavailable: (explorer) => (explorer.manifest.lstms.length ? null : "There is no LSTM run in this file."),
  async mount(root, explorer, view) {
    const { lstms } = explorer.manifest;
    /** @type {LstmView | null} */
    let current = null;
    /** Id of the run that was chosen last. */
    let wanted = "";
    const body = h("div");
    /**
     * @param {string} id
     * @param {URLSearchParams} start
     */
    const open = async (id, start) => {
      wanted = id;
      const lstm = await explorer.lstm(id);
      if (wanted !== id) return; // another choice while this run loaded
      current?.destroy();
      current = new LstmView(lstm, explorer, readState(lstm.content, start));
      fill(body, current.element);
      current.render(); // now that the pictures have a size
    };
    const chosen = lstms.find(({ id }) => id === view.get("run")) ?? lstms[0];
    fill(root);
    if (lstms.length > 1) {
      /** @type {[string, string][]} */
      const choices = lstms.map(({ id, name }) => [id, name]);
      const runs = select("Run", choices, chosen.id, (id) => void open(id, new URLSearchParams()));
      root.append(h("div", { class: "lstm-runs" }, runs.element));
    }
    root.append(body);
    await open(chosen.id, view);
    return { view: () => current?.view() ?? {}, destroy: () => current?.destroy() };
  },
};
