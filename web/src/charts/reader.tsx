/** What reads a chart without a pointer: a slider over the plot, from value to value, and the values as a table. */
import { clamp, formatNumber, type Format } from "../kit/format";
import { ScrollTable } from "../kit/table";
import type { Drawn } from "./series";

interface ReaderProps {
  stops: number[]; // Every x with a value, ascending
  at: number | null; // Where it reads
  onRead: (at: number | null) => void;
  describe: (at: number) => string;
}

export function Reader({ stops, at, onRead, describe }: ReaderProps) {
  const place = Math.max(0, stops.indexOf(at ?? NaN));
  const go = (to: number) => onRead(stops[clamp(to, 0, stops.length - 1)]);
  const page = Math.max(1, Math.round(stops.length / 10));
  const moves: Record<string, number> = {
    ...{ ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 },
    ...{ PageUp: page, PageDown: -page, Home: -Infinity, End: Infinity },
  };
  return (
    <div
      class="chart-reader"
      role="slider"
      tabIndex={0}
      aria-label="Move to read values"
      aria-valuemin={0}
      aria-valuemax={stops.length - 1}
      aria-valuenow={place}
      aria-valuetext={describe(stops[place])}
      onFocus={() => go(place)}
      onBlur={() => onRead(null)}
      onKeyDown={(event) => {
        if (!(event.key in moves)) return;
        event.preventDefault();
        go(place + moves[event.key]);
      }}
    />
  );
}

type ValuesProps = { title: string; xLabel: string; lines: Drawn[]; formatY: Format };

export function Values({ title, xLabel, lines, formatY }: ValuesProps) {
  const columns = lines.map(({ points }) => new Map(points.map(({ x, y }) => [x, y])));
  const xs = [...new Set(columns.flatMap((column) => [...column.keys()]))].sort((a, b) => a - b);
  const show = (y = NaN) => (Number.isNaN(y) ? "–" : formatY(y));
  return (
    <ScrollTable
      name={`${title}, table`}
      columns={[xLabel, ...lines.map(({ name }) => name)]}
      rows={xs.map((x) => ({ head: formatNumber(x), cells: columns.map((column) => show(column.get(x))) }))}
    />
  );
}
