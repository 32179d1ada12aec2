/**
 * The search as it goes on: the error of every start, and the images that they have reached.
 */
import { LineChart } from "../../ui/chart.js";
import { fill, h } from "../../ui/dom.js";
import { drawImage, imageCanvas } from "../../ui/image.js";

/** @typedef {import("../../compute/projection.js").Projection} Projection */
/** @typedef {import("../../types.js").GanContent} GanContent */

export class SearchView {
  /** @type {{canvas: HTMLCanvasElement, caption: HTMLElement, element: HTMLElement, mark: HTMLElement}[]} */
  #starts = [];

  /** @param {GanContent} content */
  constructor({ imageShape }) {
    this.shape = imageShape;
    this.chart = new LineChart({
      title: "Error of every start: root-mean-square difference of the pixels",
      xLabel: "step of gradient descent",
      yLabel: "",
      series: [],
      yDomain: [0, null],
      formatY: (error) => String(Number(error.toPrecision(2))),
    });
    this.status = h("p", { class: "muted number" });
    this.list = h("ol", { class: "starts" });
    this.element = h(
      "section",
      { class: "card draw-search", hidden: true, "aria-label": "Search" },
      h("h3", {}, "The search"),
      this.status,
      h("div", { class: "columns" }, this.chart.element, this.list),
    );
  }

  /**
   * Begins a new search.
   * @param {Projection} projection
   */
  reset({ errors, steps, candidateErrors }) {
    this.element.hidden = false;
    this.chart.update({ series: [], references: [], xDomain: [0, steps] });
    this.status.textContent = `Trying ${candidateErrors.length} random latents.`;
    this.#starts = errors.map((_, start) => {
      const canvas = imageCanvas(null, this.shape, `Image of start ${start + 1}`);
      const caption = h("span", { class: "number" });
      const mark = h("strong", { class: "mark" });
      const element = h("li", {}, canvas, h("span", {}, `Start ${start + 1}: `, caption), mark);
      return { canvas, caption, element, mark };
    });
    fill(this.list, ...this.#starts.map(({ element }) => element));
  }

  /**
   * Shows how far the search is.
   * @param {Projection} projection
   */
  draw({ images, errors, best, step, steps, candidateErrors, latents, done }) {
    if (!latents.length) return; // random latents are being tried
    const pixels = images.length / errors.length;
    this.status.textContent = done
      ? `Of ${candidateErrors.length} random latents the ${errors.length} best went ${steps} steps down the gradient.`
      : `Step ${step} of ${steps}`;
    this.#starts.forEach(({ canvas, caption, element, mark }, start) => {
      const curve = errors[start];
      drawImage(canvas, images.subarray(start * pixels, (start + 1) * pixels), this.shape);
      if (curve.length) caption.textContent = curve[curve.length - 1].toFixed(3);
      element.classList.toggle("chosen", start === best);
      mark.textContent = start !== best ? "" : done ? "chosen" : "best so far";
    });
    const order = [best, ...errors.keys()].filter((start, index, all) => all.indexOf(start) === index);
    this.chart.update({
      series: order.map((start) => ({
        name: `start ${start + 1}`,
        x: [...errors[start].keys()],
        y: errors[start],
        strong: start === best,
      })),
    });
  }

  /**
   * Marks the error that the search reaches for a real image.
   * @param {number} error
   */
  setBaseline(error) {
    this.chart.update({ references: [{ name: "a real image", value: error }] });
  }
}
