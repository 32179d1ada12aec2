/**
 * A heat map in its frame: the steps below, a legend, and a line that reads out the cell at hand.
 */
import { Heatmap, Legend } from "../../ui/heatmap.js";
import { formatLimit } from "./format.js";
import { Frame } from "./frame.js";

export class MapView {
  /** @type {import("../../ui/heatmap.js").HeatmapContent | null} */
  #content = null;
  /** @type {import("./frame.js").Steps | null} */
  #steps = null;

  /**
   * @param {import("../../ui/dom.js").Child[]} title
   * @param {string} name for those who use a screen reader
   * @param {{describe: (cell: import("../../ui/heatmap.js").Cell) => string, announce: (text: string) => void,
   *   onselect: (cell: import("../../ui/heatmap.js").Cell) => void}} actions
   */
  constructor(title, name, { describe, announce, onselect }) {
    this.legend = new Legend();
    this.frame = new Frame(title, { legend: this.legend.element, height: "15rem", onresize: () => this.#draw() });
    this.heatmap = new Heatmap({
      name,
      onmove: (cell, isKeyboard) => {
        this.frame.readout.textContent = describe(cell ?? this.selection);
        if (cell && isKeyboard) announce(describe(cell));
      },
      onselect,
    });
    this.describe = describe;
    this.selection = { column: 0, row: 0 };
    this.frame.plot.append(this.heatmap.element);
    this.element = this.frame.element;
  }

  /**
   * @param {import("../../ui/heatmap.js").HeatmapContent} content
   * @param {import("./frame.js").Steps} steps
   */
  show(content, steps) {
    [this.#content, this.#steps] = [content, steps];
    this.legend.show(content.scale, formatLimit);
    this.#draw();
  }

  #draw() {
    if (!this.#content || !this.#steps) return;
    this.frame.showSteps(this.#steps);
    this.heatmap.show(this.#content, this.frame.width);
  }

  /** @param {import("../../ui/heatmap.js").Cell} cell */
  select(cell) {
    this.selection = cell;
    this.heatmap.select(cell);
    this.frame.readout.textContent = this.describe(cell);
    if (this.#content)
      this.frame.reveal(cell.column / this.#content.columns, (cell.column + 1) / this.#content.columns);
  }
}
