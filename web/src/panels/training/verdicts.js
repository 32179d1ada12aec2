/**
 * What D says of some real and some generated images: one dot per image, from 0 to 1.
 */
import { select } from "d3-selection";
import { meanProbability, sigmoid } from "../../models/snapshots.js";
import { fill, h } from "../../ui/dom.js";
import { symbolPath } from "../../ui/chart_series.js";

/** Width and height of a row in its own units; CSS gives the size. */
const [WIDTH, HEIGHT, MARGIN] = [320, 26, 6];

/**
 * A row of dots.
 * @param {string} name
 * @param {number} style index, as in charts
 * @param {number[]} logits
 */
function row(name, style, logits) {
  const mean = meanProbability(logits);
  /** @param {number} probability */
  const x = (probability) => MARGIN + probability * (WIDTH - 2 * MARGIN);
  const svg = select(document.createElementNS("http://www.w3.org/2000/svg", "svg"))
    .attr("viewBox", `0 0 ${WIDTH} ${HEIGHT}`)
    .attr("class", `series-${style}`)
    .attr("role", "img")
    .attr("aria-label", `D's probabilities for ${name}: ${logits.map((l) => sigmoid(l).toFixed(2)).join(", ")}`);
  svg.append("path").attr("class", "verdict-axis").attr("d", `M${x(0)},${HEIGHT / 2}H${x(1)}`);
  svg.append("path").attr("class", "verdict-middle").attr("d", `M${x(0.5)},1V${HEIGHT - 1}`);
  for (const logit of logits) {
    svg
      .append("path")
      .attr("class", "verdict-dot")
      .attr("transform", `translate(${x(sigmoid(logit))},${HEIGHT / 2})`)
      .attr("d", symbolPath(style, 70));
  }
  svg.append("path").attr("class", "verdict-mean").attr("d", `M${x(mean)},2V${HEIGHT - 2}`);
  return h(
    "div",
    { class: "verdict-row" },
    h("span", {}, h("strong", {}, name), ` mean ${mean.toFixed(2)}`),
    /** @type {SVGSVGElement} */ (svg.node()),
  );
}

/**
 * A sentence on what D says.
 * @param {number} real mean probability
 * @param {number} fake
 */
function sentence(real, fake) {
  const gap = real - fake;
  if (gap > 0.6) return "D tells them apart with confidence.";
  if (gap > 0.2) return "D tells many of them apart.";
  if (gap > 0.02) return "D hardly tells them apart: G fools it most of the time.";
  return "D does not tell them apart.";
}

/** Shows D's verdicts on the pictures of a moment. */
export function verdictStrip() {
  const element = h("div", { class: "verdicts" });
  /**
   * @param {number[] | null} real logits
   * @param {number[] | null} fake logits
   */
  const update = (real, fake) => {
    if (!real?.length || !fake?.length) {
      fill(element, h("p", { class: "note" }, "This run was trained by an older version, which did not record what D said of the pictures."));
      return;
    }
    fill(
      element,
      row("real images", 0, real),
      row("these pictures", 1, fake),
      h("div", { class: "verdict-scale", "aria-hidden": "true" }, h("span", {}, "0: generated"), h("span", {}, "½"), h("span", {}, "1: real")),
      h("p", { class: "note" }, sentence(meanProbability(real), meanProbability(fake))),
    );
  };
  return { element, update };
}
