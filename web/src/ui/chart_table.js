/**
 * The numbers of a chart as a table, filled when a reader opens it.
 */
import { fill, h } from "./dom.js";

/** @typedef {import("./chart_series.js").Point} Point */

/**
 * Creates the table of a chart.
 * @param {string} title of the chart
 * @param {() => {xLabel: string, lines: {name: string, points: Point[]}[], formatX: (x: number) => string,
 *   formatY: (y: number) => string}} read what the chart shows at the moment
 */
export function chartTable(title, read) {
  const region = h("div", { class: "chart-table", role: "region", tabIndex: 0, "aria-label": `${title}, table` });
  region.setAttribute("data-scrolls", "");
  const details = h(
    "details",
    {
      ontoggle: () => {
        if (details.open) fill(region, table(title, read()));
        else region.replaceChildren();
      },
    },
    h("summary", {}, "Values as a table"),
    region,
  );
  return {
    element: details,
    update: () => {
      if (details.open) fill(region, table(title, read()));
    },
  };
}

/**
 * @param {string} title
 * @param {{xLabel: string, lines: {name: string, points: Point[]}[], formatX: (x: number) => string,
 *   formatY: (y: number) => string}} content
 */
function table(title, { xLabel, lines, formatX, formatY }) {
  /** @type {Map<number, (number | undefined)[]>} */
  const rows = new Map();
  lines.forEach(({ points }, index) => {
    for (const { x, y } of points) {
      const row = rows.get(x) ?? lines.map(() => undefined);
      row[index] = y;
      rows.set(x, row);
    }
  });
  const head = h(
    "tr",
    {},
    h("th", { scope: "col" }, xLabel),
    ...lines.map(({ name }) => h("th", { scope: "col" }, name)),
  );
  const body = [...rows.entries()]
    .sort(([a], [b]) => a - b)
    .map(([x, values]) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, formatX(x)),
        ...values.map((y) => h("td", {}, y === undefined || Number.isNaN(y) ? "–" : formatY(y))),
      ),
    );
  return h(
    "table",
    {},
    h("caption", { class: "visually-hidden" }, title),
    h("thead", {}, head),
    h("tbody", {}, ...body),
  );
}
