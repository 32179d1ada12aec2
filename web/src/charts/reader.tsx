/**
 * A slider along the x axis of a chart, which reads the values with the keyboard. It moves from value to value, whatever
 * their distance. Below it stand its label and what else belongs to the foot of a chart, such as the values as a table.
 */
import { minIndex } from "d3-array";
import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { clamp } from "../kit/format";
import { ScrollTable } from "../kit/table";
import type { Scale } from "./scale";
import type { Drawn } from "./series";

interface ReaderProps {
  scale: Scale | null; // Of the axis; null without a slider
  stops: number[]; // Every x with a value, ascending
  /** Shows the values at x, or none. */
  onRead: (at: number | null) => void;
  /** The values at x in words. */
  describe: (at: number) => string;
  children: ComponentChildren;
}

export function Reader({ scale, stops, onRead, describe, children }: ReaderProps) {
  const id = useId();
  const [index, setIndex] = useState<number | null>(null);
  if (!scale) return <div class="row chart-foot muted">{children}</div>;
  const [left, right] = scale.range;
  const place = clamp(index ?? 0, 0, stops.length - 1);
  const go = (next: number) => {
    const target = clamp(next, 0, stops.length - 1);
    setIndex(target);
    onRead(stops[target]);
  };
  const onInput = (event: { currentTarget: HTMLInputElement }) => {
    const position = left + event.currentTarget.valueAsNumber * (right - left);
    go(minIndex(stops, (stop) => Math.abs(scale(stop) - position)));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.round(stops.length / 10));
    const targets: Record<string, number> = {
      ArrowRight: place + 1,
      ArrowUp: place + 1,
      ArrowLeft: place - 1,
      ArrowDown: place - 1,
      PageUp: place + page,
      PageDown: place - page,
      Home: 0,
      End: stops.length - 1,
    };
    if (!(event.key in targets)) return;
    event.preventDefault();
    go(targets[event.key]);
  };
  return (
    <>
      <input
        id={id}
        type="range"
        min="0"
        max="1"
        step="any"
        class="chart-reader"
        value={index === null ? 0 : (scale(stops[place]) - left) / (right - left)}
        aria-valuetext={index === null ? "start" : describe(stops[place])}
        style={{ marginLeft: `calc(${left}px - 0.5rem)`, width: `calc(${right - left}px + 1rem)` }}
        onInput={onInput}
        onKeyDown={onKeyDown}
        onFocus={() => go(place)}
        onBlur={() => onRead(null)}
      />
      <div class="row chart-foot muted">
        <label for={id}>Move to read values</label>
        {children}
      </div>
    </>
  );
}

type Format = (value: number) => string;
type ValuesProps = { title: string; xLabel: string; lines: Drawn[]; formatX: Format; formatY: Format };

/** The numbers of a chart as a table. */
export function Values({ title, xLabel, lines, formatX, formatY }: ValuesProps) {
  const columns = lines.map(({ points }) => new Map(points.map(({ x, y }) => [x, y])));
  const xs = [...new Set(columns.flatMap((column) => [...column.keys()]))].sort((a, b) => a - b);
  const show = (y = NaN) => (Number.isNaN(y) ? "–" : formatY(y));
  return (
    <ScrollTable
      name={`${title}, table`}
      columns={[xLabel, ...lines.map(({ name }) => name)]}
      rows={xs.map((x) => ({ head: formatX(x), cells: columns.map((column) => show(column.get(x))) }))}
    />
  );
}
