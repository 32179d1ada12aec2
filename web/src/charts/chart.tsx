/**
 * Line charts: axes, names at the ends of the lines, a cursor with the values that the pointer and the keyboard move, and the same
 * numbers as a table.
 */
import { extent, least } from "d3-array";
import { useMemo, useState } from "preact/hooks";
import { formatNumber, type Format } from "../kit/format";
import { Disclosure } from "../kit/table";
import { useSize } from "../kit/size";
import { explain } from "../kit/terms";
import { hasNames, hasSymbols, layOut, nearest, pointsOf, spread, summarize, withValues } from "./series";
import type { Axes, Drawn, Layout, Reference } from "./series";
import { Grid, Legend, Line, Sample, styleOf, Symbol, XAxis, YAxis, type Series } from "./marks";
import { Reader, Values } from "./reader";

interface ChartProps extends Axes {
  title: string;
  xLabel: string;
  yLabel: string;
  series: Series[];
  references?: Reference[];
  formatY?: Format;
  cursor?: number | null; // Where a cursor stands
  onSelect?: (x: number) => void;
}

const REACH = 0.7; // A value belongs to the cursor if it is at most so far, in em

export function Chart(given: ChartProps) {
  const props = { formatY: formatNumber, ...given };
  const { title, xLabel, yLabel, series, references, xSpacing, xDomain, formatY, onSelect } = props;
  const { ref, ...size } = useSize();
  const [reading, setReading] = useState<number | null>(null);
  const lines = useMemo(() => draw(props), [series, references, xSpacing, String(xDomain)]);
  const layout = layOut(props, lines, size);
  const stopAt = (event: MouseEvent & { currentTarget: Element }) => {
    const { x, stops } = layout!;
    const position = event.clientX - event.currentTarget.getBoundingClientRect().left;
    return least(stops, (stop) => Math.abs(x(stop) - position))!;
  };
  const at = reading ?? props.cursor ?? null;
  const hasValues = lines.some(({ points }) => withValues(points).length);
  const { width, height } = size;
  return (
    <figure class={`chart${onSelect ? " selects" : ""}${hasValues ? "" : " empty"}`}>
      <figcaption class="chart-title">{title}</figcaption>
      {layout?.isAbove && <Legend lines={lines} />}
      <div class="muted">{explain(yLabel)}</div>
      <div class="chart-plot" ref={ref}>
        <svg
          role="img"
          aria-label={summarize(title, xLabel, lines, formatY)}
          viewBox={`0 0 ${width} ${height}`}
          {...{ width, height }}
          onPointerMove={(event) => layout && setReading(stopAt(event))}
          onPointerLeave={() => setReading(null)}
          onClick={(event) => layout && onSelect?.(stopAt(event))}
        >
          {layout && <Picture {...{ lines, layout, formatY }} />}
          {layout && at !== null && <Cursor lines={lines} layout={layout} at={at} />}
        </svg>
        {layout && (
          <Reader
            {...{ stops: layout.stops, at: reading, onRead: setReading }}
            describe={(stop) => {
              const values = valuesAt(lines, layout, stop, formatY).map(({ line, text }) => `${line.name} ${text}`);
              return `${xLabel} ${formatNumber(stop)}: ${values.join(", ")}`;
            }}
          />
        )}
        {layout && reading !== null && (
          <Tooltip width={width} position={layout.x(reading)} em={size.em}>
            <div>{`${xLabel} ${formatNumber(reading)}`}</div>
            {valuesAt(lines, layout, reading, formatY).map(({ line, text }) => (
              <div key={line.name}>
                <Sample {...line} />
                {`${line.name} `}
                <strong>{text}</strong>
              </div>
            ))}
          </Tooltip>
        )}
      </div>
      <div class="chart-x-label muted">{xLabel}</div>
      <div class="chart-foot muted">
        <Disclosure summary="Values as a table">
          {() => <Values {...{ title, xLabel, formatY }} lines={lines.filter((line) => line.symbol !== null)} />}
        </Disclosure>
      </div>
    </figure>
  );
}

/** Returns what a chart draws: its series, then its references over the whole width. */
function draw({ series, references = [], xSpacing, xDomain }: ChartProps): Drawn[] {
  const lines = series.map((one, index) => ({
    name: one.name,
    style: `${styleOf(index)}${one.strong ? " strong" : ""}`,
    symbol: index,
    points: pointsOf(one, xSpacing === "log"),
  }));
  const ends = (xDomain ?? extent(lines.flatMap(({ points }) => points.map(({ x }) => x)))).filter(
    (x) => x !== undefined,
  );
  const levels = references.map(({ name, value }) => ({
    name,
    style: "reference",
    symbol: null,
    points: ends.map((x) => ({ x, y: value })),
  }));
  return [...lines, ...levels];
}

/** The values of the lines at, or very near to, a point of the x axis. */
function valuesAt(lines: Drawn[], { x, em }: Layout, at: number, formatY: Format) {
  return lines.flatMap((line) => {
    if (line.symbol === null) return [{ line, text: formatY(line.points[0].y) }];
    const point = nearest(line.points, x, x(at));
    const isNear = point && Math.abs(x(point.x) - x(at)) <= REACH * em;
    return isNear ? [{ line, text: formatY(point.y) }] : [];
  });
}

type PictureProps = { lines: Drawn[]; layout: Layout; formatY: Format };

function Picture({ lines, layout, formatY }: PictureProps) {
  const { x, y, xTicks, yTicks, em } = layout;
  return (
    <>
      <Grid scale={y} ticks={yTicks} left={x.range[0]} right={x.range[1]} />
      <XAxis scale={x} ticks={xTicks} format={formatNumber} at={y.range[0]} em={em} />
      <YAxis scale={y} ticks={yTicks} format={formatY} at={x.range[0]} em={em} />
      {lines.map(({ points, style, symbol, name }) => {
        const ends = symbol === null && x.range.map((at) => ({ x: at, y: y(points[0].y) }));
        const placed = ends || points.map((point) => ({ x: x(point.x), y: y(point.y) }));
        const shown = hasSymbols(points) ? symbol : null;
        return <Line key={name} style={style} symbol={shown} points={placed} area={0.28 * em ** 2} />;
      })}
      {!layout.isAbove && hasNames(lines) && <Names lines={lines} layout={layout} />}
    </>
  );
}

/** Names at the ends of the lines, with a leader where they could not stand there. */
function Names({ lines, layout: { x, y, em } }: { lines: Drawn[]; layout: Layout }) {
  const right = x.range[1];
  const ends = lines.map(({ points }) => withValues(points).at(-1));
  const wanted = ends.map((end) => (end ? y(end.y) : y.range[0]));
  const placed = spread(wanted, 1.25 * em, y.range[1], y.range[0]);
  return (
    <>
      {lines.map(({ name, style }, k) =>
        ends[k] ? (
          <g key={name} class={style}>
            {Math.abs(placed[k] - wanted[k]) > 0.4 * em && (
              <path class="chart-leader" d={`M${right + 0.15 * em},${wanted[k]}L${right + 0.7 * em},${placed[k]}`} />
            )}
            <text class="chart-name" x={right + 0.9 * em} y={placed[k]} dy="0.32em">
              {name}
            </text>
          </g>
        ) : null,
      )}
    </>
  );
}

function Cursor({ lines, layout: { x, y, em }, at }: { lines: Drawn[]; layout: Layout; at: number }) {
  const position = x(Math.min(Math.max(at, x.domain[0]), x.domain[1]));
  return (
    <g class="chart-cursor">
      <path class="chart-cursor-line mark" d={`M${position},${y.range[1]}V${y.range[0]}`} />
      {lines.map(({ points, style, symbol, name }) => {
        const point = symbol !== null && nearest(points, x, position);
        return point ? (
          <g key={name} class={style}>
            <Symbol x={x(point.x)} y={y(point.y)} index={symbol} area={0.55 * em ** 2} />
          </g>
        ) : null;
      })}
    </g>
  );
}

function Tooltip(props: { width: number; position: number; em: number; children: preact.ComponentChildren }) {
  const place = (element: HTMLElement | null) => {
    if (!element) return;
    const beside = props.position + props.em;
    const left = beside + element.offsetWidth <= props.width ? beside : props.position - element.offsetWidth - props.em;
    element.style.setProperty("left", `${Math.max(0, left)}px`);
  };
  return (
    <div class="chart-tooltip" aria-hidden="true" ref={place}>
      {props.children}
    </div>
  );
}
