/**
 * Panel "Curves and facts".
 */
import { LineChart } from "../ui/chart.js";
import { fill, h } from "../ui/dom.js";
import { curvesOf, formatPercent, seriesOf } from "./facts/curves.js";

/** @type {import("./panel.js").Panel} */
export const factsPanel = {
  id: "facts",
  title: "Curves and facts",
  question: "",
  observe: "",
  limit: "",
  unavailable: () => null,
  async mount(root, explorer) {
    const content = explorer.manifest.gans[0];
    const charts = [...curvesOf(content), ...curvesOf(explorer.manifest.lstms[0])].map((c) => {
      const run = c.id.startsWith("lstm") ? explorer.manifest.lstms[0] : content;
      return new LineChart({ title: c.title, yLabel: c.yLabel, xLabel: "epoch", series: seriesOf(run, c, "epoch"), reader: true, yDomain: c.yDomain, references: c.references, ...(c.percent && { formatY: formatPercent }) });
    });
    fill(root, h("div", { class: "facts-charts" }, ...charts.map((chart) => chart.element)));
    return { view: () => ({}), destroy: () => charts.forEach((c) => c.destroy()) };
  },
};
