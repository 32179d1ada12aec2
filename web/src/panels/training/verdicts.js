/**
 * What D says of some real and some generated images: one dot per image.
 */
import { select } from "d3-selection";
import { sigmoid } from "../../compute/activations.js";
import { fill, h } from "../../ui/dom.js";
import { symbolPath } from "../../ui/chart_series.js";

/** Width and height of a row in its own units; CSS gives the size. */
const [WIDTH, HEIGHT, MARGIN] = [320, 26, 6];

/**
 * What the row shows of an output of D: its probability, or, if the loss gives none, the number itself.
 * @typedef {object} Scale
 * @property {(logit: number) => number} value
 * @property {[number, number]} domain
 */

/**
 * @param {boolean} isProbability
 * @param {number[]} logits
 * @returns {Scale}
 */
function makeScale(isProbability, logits) {
  if (isProbability) return { value: sigmoid, domain: [0, 1] };
  return { value: (logit) => logit, domain: [Math.min(...logits), Math.max(...logits)] };
}

/**
 * A row of dots.
 * @param {string} name
 * @param {number} style index, as in charts
 * @param {number[]} logits
 * @param {Scale} scale
 */
function row(name, style, logits, { value, domain: [low, high] }) {
  const values = logits.map(value);
  const mean = values.reduce((a, b) => a + b) / values.length;
  /** @param {number} at */
  const x = (at) => MARGIN + ((at - low) / (high - low || 1)) * (WIDTH - 2 * MARGIN);
  const svg = select(document.createElementNS("http://www.w3.org/2000/svg", "svg"))
    .attr("viewBox", `0 0 ${WIDTH} ${HEIGHT}`)
    .attr("class", `series-${style}`)
    .attr("role", "img")
    .attr("aria-label", `D for ${name}: ${values.map((one) => one.toFixed(2)).join(", ")}`);
  svg
    .append("path")
    .attr("class", "verdict-axis")
    .attr("d", `M${x(low)},${HEIGHT / 2}H${x(high)}`);
  svg
    .append("path")
    .attr("class", "verdict-middle")
    .attr("d", `M${WIDTH / 2},1V${HEIGHT - 1}`);
  for (const one of values) {
    svg
      .append("path")
      .attr("class", "verdict-dot")
      .attr("transform", `translate(${x(one)},${HEIGHT / 2})`)
      .attr("d", symbolPath(style, 70));
  }
  svg
    .append("path")
    .attr("class", "verdict-mean")
    .attr("d", `M${x(mean)},2V${HEIGHT - 2}`);
  return h(
    "div",
    { class: "verdict-row" },
    h("span", {}, h("strong", {}, name), ` mean ${mean.toFixed(2)}`),
    /** @type {SVGSVGElement} */ (svg.node()),
  );
}

/**
 * Fraction of the pairs of a real and a generated image in which D finds the real one more real.
 * @param {number[]} real logits
 * @param {number[]} fake logits
 */
export function separation(real, fake) {
  let wins = 0;
  for (const a of real) for (const b of fake) wins += a > b ? 1 : a === b ? 0.5 : 0;
  return wins / (real.length * fake.length);
}

/**
 * Creates a view of D's verdicts on the pictures of a moment.
 * @param {boolean} isProbability whether D's output gives a probability
 */
export function verdictStrip(isProbability) {
  const element = h("div", { class: "verdicts" });
  /**
   * @param {number[]} real logits
   * @param {number[]} fake logits
   */
  const update = (real, fake) => {
    const scale = makeScale(isProbability, [...real, ...fake]);
    const ends = isProbability ? ["0: generated", "½", "1: real"] : ["lower: generated", "", "higher: real"];
    const percent = Math.round(100 * separation(real, fake));
    fill(
      element,
      row("real images", 0, real, scale),
      row("these pictures", 1, fake, scale),
      h(
        "div",
        { class: "verdict-scale", "aria-hidden": "true" },
        ends.map((end) => h("span", {}, end)),
      ),
      h(
        "p",
        { class: "note" },
        `In ${percent} % of all pairs of a real image and a picture, D gives the real one the higher number. 50 % is guessing.`,
        !isProbability && " The loss of this run gives D a number without a unit, not a probability.",
      ),
    );
  };
  return { element, update };
}
