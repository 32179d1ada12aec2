/**
 * One log-odds of D in the context of D's log-odds on real images and on samples: two density curves and a mark.
 *
 * `isProbability` is false for a D whose loss gives no probability, such as that of Wasserstein.
 */
import { mean as meanOf, ticks } from "d3-array";
import { useMemo } from "preact/hooks";
import { percent, signed } from "../kit/format";
import type { LogitContext } from "../kit/manifest";
import { logOdds, sigmoid } from "../kit/math";
import { once } from "../kit/runs";
import { useSize } from "../kit/size";
import { Legend, linePath, type Point, styleOf, XAxis } from "./marks";
import { clamped, makeScale, type Scale } from "./scale";

type DistributionProps = { context: LogitContext; logit: number | null; isProbability: boolean };

export interface Density {
  kind: "real" | "fake";
  style: string; // CSS class of its color
  name: string;
  sorted: number[];
  points: Point[]; // Log-odds and density, at most 1
}

export type Densities = { domain: [number, number]; curves: Density[] };

const NUM_POINTS = 96;
const TAIL = 0.004; // Fraction of the numbers that lies beyond each end of the axis

/** Returns the density curves of a context; several charts share them. */
export const densitiesOf = once(({ real, fake, realSource }: LogitContext): Densities => {
  const sort = (values: number[]) => values.filter(Number.isFinite).sort((a, b) => a - b);
  const groups = [
    { kind: "real" as const, style: styleOf(0), name: `real (${realSource})`, sorted: sort(real) },
    { kind: "fake" as const, style: styleOf(1), name: "samples of G", sorted: sort(fake) },
  ].filter(({ sorted }) => sorted.length > 1);
  if (!groups.length) return { domain: [-4, 4], curves: [] };
  const tail = ({ length }: number[]) => Math.floor(TAIL * length);
  const low = Math.min(...groups.map(({ sorted }) => sorted[tail(sorted)]));
  const high = Math.max(...groups.map(({ sorted }) => sorted[sorted.length - 1 - tail(sorted)]));
  const margin = 0.08 * (high - low) || 1;
  const domain: [number, number] = [low - margin, high + margin];
  const curves = groups.map((group) => ({ ...group, points: estimate(group.sorted, domain) }));
  const max = Math.max(...curves.flatMap(({ points }) => points.map(({ y }) => y)));
  for (const { points } of curves) for (const point of points) point.y /= max;
  return { domain, curves };
});

/** Returns a Gaussian kernel density estimate with Silverman's bandwidth. */
function estimate(sorted: number[], [low, high]: [number, number]): Point[] {
  const mean = meanOf(sorted)!;
  const deviation = Math.sqrt(sorted.reduce((sum, x) => sum + (x - mean) ** 2, 0) / sorted.length);
  const bandwidth = Math.max(1.06 * deviation * sorted.length ** -0.2, (high - low) / NUM_POINTS);
  return Array.from({ length: NUM_POINTS + 1 }, (_, i) => {
    const x = low + ((high - low) * i) / NUM_POINTS;
    const sum = sorted.reduce((total, value) => total + Math.exp(-0.5 * ((x - value) / bandwidth) ** 2), 0);
    return { x, y: sum / (sorted.length * bandwidth) };
  });
}

export function describe({ curves }: Densities, logit: number | null, isProbability: boolean): string {
  const parts = curves.map(({ name, sorted }) => {
    const [low, median, high] = [0.05, 0.5, 0.95].map((q) => signed(sorted[Math.floor(q * (sorted.length - 1))]));
    return `${name}: median ${median}, 90 % from ${low} to ${high}`;
  });
  const marked = logit === null ? "" : ` This image: ${signed(logit)}.`;
  return `Distribution of D's ${isProbability ? "log-odds" : "output"}. ${parts.join("; ")}.${marked}`;
}

export function rankOf({ curves }: Densities, logit: number): string {
  if (!curves.length) return "";
  const below = (sorted: number[]) => sorted.filter((value) => value < logit).length / sorted.length;
  const parts = curves.map(({ name, sorted }) => `${percent(below(sorted))} of ${name}`);
  return `Higher than for ${parts.join(" and ")}.`;
}

const PROBABILITIES = [
  ...[0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5],
  ...[0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999],
];
const [WIDTH, HEIGHT] = [120, 30]; // Of the compact chart, in its own units

export const scoreText = (logit: number, isProbability: boolean) =>
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
      <Legend lines={data.curves} />
      <div role="img" aria-label={describe(data, logit, isProbability)} ref={ref}>
        {width > 0 && <Picture {...{ data, logit, isProbability, width, em }} />}
      </div>
      <p class="note">{logit !== null && `${unit} ${signed(logit)}. ${rankOf(data, logit)}`}</p>
    </div>
  );
}

type PictureProps = Omit<DistributionProps, "context"> & { data: Densities; width: number; em: number };

/** The curves with axes: below in probabilities, above in log-odds. Another image changes only the mark. */
function Picture({ data, logit, isProbability, width, em }: PictureProps) {
  const [top, inner] = [isProbability ? 2.9 * em : 0.5 * em, 7 * em];
  const bottom = top + inner;
  const x = useMemo(() => clamped(makeScale("linear", data.domain, [0.5 * em, width - 0.5 * em])), [data, width, em]);
  const backdrop = useMemo(() => {
    const numbers = { ticks: ticks(...data.domain, Math.max(2, Math.floor(width / (5 * em)))), format: signedShort };
    const chosen = probabilityTicks(x, 3.4 * em);
    const percents = {
      ticks: chosen.map(logOdds),
      format: (_: number, k: number) => `${+(100 * chosen[k]).toPrecision(6)} %`,
    };
    const title = (text: string, y: number) => (
      <text class="muted" text-anchor="middle" x={width / 2} y={y}>
        {text}
      </text>
    );
    return (
      <>
        <Curves {...data} x={x} y={(density) => bottom - (inner - 1.7 * em) * density} />
        <XAxis scale={x} em={em} {...(isProbability ? percents : numbers)} at={bottom} />
        {isProbability && <XAxis scale={x} em={em} {...numbers} at={top} above />}
        {isProbability && title("log-odds", 0.9 * em)}
        {title(
          isProbability ? "D’s probability that the image is real" : "output of D, higher for real images",
          bottom + 2.5 * em,
        )}
      </>
    );
  }, [x, isProbability]);
  return (
    <svg width={width} height={bottom + 2.9 * em} aria-hidden="true">
      {backdrop}
      {logit !== null && <Mark {...{ x, logit, isProbability, top, bottom, em }} />}
    </svg>
  );
}

const signedShort = (value: number) => String(+value.toPrecision(6)).replace("-", "−");

type MarkProps = { x: Scale; logit: number; isProbability: boolean; top: number; bottom: number; em: number };

/** The mark of one image: a line with its value, and an arrow where it lies beyond the axis. */
function Mark({ x, logit, isProbability, top, bottom, em }: MarkProps) {
  const text = isProbability ? percent(sigmoid(logit)) : signed(logit);
  const label = logit > x.domain[1] ? `${text} →` : logit < x.domain[0] ? `← ${text}` : text;
  const position = x(logit);
  const isRight = position > (x.range[0] + x.range[1]) / 2;
  const place = { x: position + (isRight ? -0.4 : 0.4) * em, y: top + 1.1 * em };
  return (
    <g>
      <line class="mark" x1={position} x2={position} y1={top} y2={bottom} />
      <text class="mark-label" {...place} text-anchor={isRight ? "end" : "start"}>
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
