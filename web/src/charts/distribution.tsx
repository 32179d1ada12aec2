/**
 * One log-odds of D in the context of D's log-odds on real images and on samples: two density curves and a mark.
 *
 * `isProbability` is false for a D whose loss gives no probability, such as that of Wasserstein.
 */
import { useMemo } from "preact/hooks";
import { logOdds, sigmoid } from "../kit/math";
import { percent, signed } from "../kit/format";
import type { LogitContext } from "../kit/manifest";
import { useSize } from "../kit/size";
import { densitiesOf, describe, rankOf, type Densities } from "./densities";
import { linePath, Sample, XAxis } from "./marks";
import { clamped, makeScale, ticks, type Scale } from "./scale";

type DistributionProps = { context: LogitContext; logit: number | null; isProbability: boolean };

const PROBABILITIES = [
  ...[0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5],
  ...[0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999],
];
const [WIDTH, HEIGHT] = [120, 30]; // Of the compact chart, in its own units

/** D's output for an image in words. */
export const scoreText = (logit: number, isProbability = true) =>
  isProbability ? `D:\u00a0${percent(sigmoid(logit))}\u00a0real` : `D:\u00a0${signed(logit)}`;

function Curves({ curves, x, y }: Densities & { x: Scale; y: (density: number) => number }) {
  return (
    <>
      {curves.map(({ kind, style, points }) => {
        const outline = linePath(points.map((point) => ({ x: x(point.x), y: y(point.y) })));
        return (
          <g key={kind} class={style}>
            <path class="area" d={`${outline}L${x.range[1]},${y(0)}L${x.range[0]},${y(0)}Z`} />
            <path class="chart-line" d={outline} />
          </g>
        );
      })}
    </>
  );
}

/** The curves and the mark alone. */
export function CompactDistribution({ context, logit, isProbability }: DistributionProps) {
  const data = densitiesOf(context);
  const x = clamped(makeScale("linear", data.domain, [0, WIDTH]));
  return (
    <div class="distribution compact" role="img" aria-label={describe(data, logit, isProbability)}>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        <Curves {...data} x={x} y={(density) => HEIGHT - 1 - (HEIGHT - 4) * density} />
        {logit !== null && <line class="mark" x1={x(logit)} x2={x(logit)} y1={0} y2={HEIGHT} />}
      </svg>
    </div>
  );
}

/** The chart with its legend, its axes, and the rank of the marked image in words. */
export function Distribution({ context, logit, isProbability }: DistributionProps) {
  const data = densitiesOf(context);
  const { ref, width, em } = useSize();
  const unit = isProbability ? "Log-odds" : "Output";
  return (
    <div class="distribution">
      <ul class="row legend" role="list">
        {data.curves.map(({ kind, style, name }) => (
          <li key={kind}>
            <Sample style={style} />
            {name}
          </li>
        ))}
      </ul>
      <div class="picture" role="img" aria-label={describe(data, logit, isProbability)} ref={ref}>
        {width > 0 && <Picture {...{ data, logit, isProbability, width, em }} />}
      </div>
      <p class="note">{logit !== null && `${unit} ${signed(logit)}. ${rankOf(data, logit)}`}</p>
    </div>
  );
}

interface PictureProps {
  data: Densities;
  logit: number | null;
  isProbability: boolean;
  width: number;
  em: number;
}

/** The curves with axes: below in probabilities, above in log-odds. Another image changes only the mark. */
function Picture({ data, logit, isProbability, width, em }: PictureProps) {
  const [top, inner] = [isProbability ? 2.9 * em : 0.5 * em, 7 * em];
  const height = top + inner + 2.9 * em;
  const x = useMemo(() => clamped(makeScale("linear", data.domain, [0.5 * em, width - 0.5 * em])), [data, width, em]);
  const backdrop = useMemo(
    () => <Backdrop {...{ data, x, isProbability, width, em, top, inner }} />,
    [x, isProbability],
  );
  return (
    <svg {...{ width, height }} aria-hidden="true">
      {backdrop}
      {logit !== null && <Mark {...{ x, logit, isProbability, top, inner, em, width }} />}
    </svg>
  );
}

type BackdropProps = Omit<PictureProps, "logit"> & { x: Scale; top: number; inner: number };

/** What all images have in common. */
function Backdrop({ data, x, isProbability, width, em, top, inner }: BackdropProps) {
  const numbers = ticks(...data.domain, Math.max(2, Math.floor(width / (5 * em))));
  const chosen = probabilityTicks(x, 3.4 * em);
  const axis = { scale: x, em };
  const below = isProbability
    ? { ticks: chosen.map(logOdds), format: (_: number, k: number) => `${+(100 * chosen[k]).toPrecision(6)} %` }
    : { ticks: numbers, format: signedShort };
  return (
    <>
      <Curves {...data} x={x} y={(density) => top + inner - (inner - 1.7 * em) * density} />
      <XAxis {...axis} {...below} at={top + inner} />
      {isProbability && <XAxis {...axis} ticks={numbers} format={signedShort} at={top} above />}
      {isProbability && (
        <text class="axis-title" x={width / 2} y={0.9 * em}>
          log-odds
        </text>
      )}
      <text class="axis-title" x={width / 2} y={top + inner + 2.5 * em}>
        {isProbability ? "D’s probability that the image is real" : "output of D, higher for real images"}
      </text>
    </>
  );
}

const signedShort = (value: number) => String(+value.toPrecision(6)).replace("-", "−");

type MarkProps = Omit<BackdropProps, "data"> & { logit: number };

/** The mark of one image: a line with its value, and an arrow where it lies beyond the axis. */
function Mark({ x, logit, isProbability, top, inner, em, width }: MarkProps) {
  const text = isProbability ? percent(sigmoid(logit)) : signed(logit);
  const label = logit > x.domain[1] ? `${text} →` : logit < x.domain[0] ? `← ${text}` : text;
  const position = x(logit);
  const isRight = position > width / 2;
  return (
    <g>
      <line class="mark" x1={position} x2={position} y1={top} y2={top + inner} />
      <text
        class="mark-label"
        x={position + (isRight ? -0.4 : 0.4) * em}
        y={top + 1.1 * em}
        text-anchor={isRight ? "end" : "start"}
      >
        {label}
      </text>
    </g>
  );
}

/** Returns probabilities to write at the axis, `gap` pixels apart or more. */
function probabilityTicks(x: Scale, gap: number): number[] {
  const at = (p: number) => x(logOdds(p));
  // Labels are centered at their ticks: none at the edge, where it would be cut.
  const inside = PROBABILITIES.filter((p) => at(p) >= x.range[0] + gap / 3 && at(p) <= x.range[1] - gap / 3);
  inside.sort((a, b) => Math.abs(logOdds(a)) - Math.abs(logOdds(b))); // from the middle, so that 50 % stays where it is
  const chosen: number[] = [];
  for (const p of inside) if (chosen.every((other) => Math.abs(at(other) - at(p)) >= gap)) chosen.push(p);
  return chosen;
}
