/**
 * What charts draw, as elements of an SVG picture: lines, areas, symbols, axes.
 *
 * A series has a color, a dash pattern and a symbol, so that nobody needs the color to tell it from another.
 */
import type { Scale } from "./scale";

export type Point = { x: number; y: number };

/** A line of a chart; `y` is null where there is no value. */
export interface Series {
  name: string;
  x: ArrayLike<number | null>;
  y: ArrayLike<number | null>;
  strong?: boolean; // Whether the line is thick, as the one to look at
}

const NUM_STYLES = 6;

/** CSS class of a series, with its color and dash pattern. */
export const styleOf = (index: number) => `series-${index % NUM_STYLES}`;

/** Paths of the symbols, of area 1 around the origin: circle, square, triangle, diamond. */
const SYMBOLS = [
  "M0.564,0A0.564,0.564,0,1,1,-0.564,0A0.564,0.564,0,1,1,0.564,0",
  "M-0.5,-0.5h1v1h-1Z",
  "M0,-0.877L0.76,0.439L-0.76,0.439Z",
  "M0,-0.931L0.537,0L0,0.931L-0.537,0Z",
];

/** Path of a line through points in pixels, with a gap where a point has no y. */
export function linePath(points: readonly Point[]): string {
  let path = "";
  let command = "M";
  for (const { x, y } of points) {
    const shown = Number.isFinite(y);
    if (shown) path += `${command}${round(x)},${round(y)}`;
    command = shown ? "L" : "M";
  }
  return path;
}

const round = (x: number) => Math.round(100 * x) / 100;

type SymbolProps = Point & { index: number; area: number };

export const Symbol = ({ index, area, x, y }: SymbolProps) => (
  <path
    class="chart-symbol"
    transform={`translate(${x},${y}) scale(${Math.sqrt(area)})`}
    d={SYMBOLS[index % SYMBOLS.length]}
  />
);

/** A line, with symbols of series `symbol`, or without for null. Points are in pixels. */
export const Line = (props: { style: string; symbol: number | null; points: readonly Point[]; area: number }) => (
  <g class={props.style}>
    <path class="chart-line" d={linePath(props.points)} />
    {props.symbol !== null &&
      props.points
        .filter(({ y }) => Number.isFinite(y))
        .map((point, k) => <Symbol key={k} {...point} index={props.symbol!} area={props.area} />)}
  </g>
);

/** A short piece of a line with its symbol, for legends. */
export const Sample = ({ style, symbol = null }: { style: string; symbol?: number | null }) => (
  <svg class={`chart-sample ${style}`} viewBox="0 0 32 12" aria-hidden="true">
    <path class="chart-line" d="M1,6H31" />
    {symbol !== null && <Symbol x={16} y={6} index={symbol} area={40} />}
  </svg>
);

type Key = { name: string; style: string; symbol?: number | null };

export const Legend = ({ lines }: { lines: Key[] }) => (
  // Without the role, Safari does not treat a list without bullets as one.
  <ul class="row legend" role="list">
    {lines.map(({ name, style, symbol }) => (
      <li key={name}>
        <Sample {...{ style, symbol }} />
        {name}
      </li>
    ))}
  </ul>
);

interface AxisProps {
  scale: Scale;
  ticks: number[];
  format: (tick: number, index: number) => string;
  at: number; // Place of the axis on the other axis, in pixels
  em: number;
}

export function XAxis({ scale, ticks, format, at, above = false }: AxisProps & { above?: boolean }) {
  const side = above ? -1 : 1;
  return (
    <g class="chart-axis" transform={`translate(0,${at})`} text-anchor="middle">
      <path d={`M${scale.range[0]},0H${scale.range[1]}`} />
      {ticks.map((tick, k) => (
        <g key={tick} transform={`translate(${scale(tick)},0)`}>
          <line y2={6 * side} />
          <text y={9 * side} dy={above ? "0em" : "0.71em"}>
            {format(tick, k)}
          </text>
        </g>
      ))}
    </g>
  );
}

export const YAxis = ({ scale, ticks, format, at, em }: AxisProps) => (
  <g class="chart-axis" transform={`translate(${at},0)`} text-anchor="end">
    {ticks.map((tick, k) => (
      <text key={tick} x={-0.5 * em} y={scale(tick)} dy="0.32em">
        {format(tick, k)}
      </text>
    ))}
  </g>
);

export const Grid = ({ scale, ticks, left, right }: { scale: Scale; ticks: number[]; left: number; right: number }) => (
  <g class="chart-grid">
    {ticks.map((tick) => (
      <path key={tick} d={`M${left},${scale(tick)}H${right}`} />
    ))}
  </g>
);
