/** The numbers of a chart as a table, filled when a reader opens it. */
import { useState } from "preact/hooks";
import { ScrollTable } from "../kit/table";
import type { Drawn } from "./series";

interface ValueTableProps {
  title: string;
  xLabel: string;
  lines: Drawn[];
  formatX: (x: number) => string;
  formatY: (y: number) => string;
}

export function ValueTable(props: ValueTableProps) {
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Values as a table</summary>
      {open && <Values {...props} />}
    </details>
  );
}

function Values({ title, xLabel, lines, formatX, formatY }: ValueTableProps) {
  const rows = new Map<number, number[]>();
  lines.forEach(({ points }, index) => {
    for (const { x, y } of points) {
      if (!rows.has(x)) rows.set(x, Array(lines.length).fill(NaN));
      rows.get(x)![index] = y;
    }
  });
  const sorted = [...rows].sort(([a], [b]) => a - b);
  return (
    <ScrollTable
      name={`${title}, table`}
      class="chart-table"
      columns={[xLabel, ...lines.map(({ name }) => name)]}
      rows={sorted.map(([x, ys]) => ({ head: formatX(x), cells: ys.map((y) => (Number.isNaN(y) ? "–" : formatY(y))) }))}
    />
  );
}
