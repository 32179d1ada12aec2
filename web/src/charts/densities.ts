/** Density curves of D's log-odds on real images and on samples, and where one of them stands among these. */
import { percent, signed } from "../kit/format";
import type { LogitContext } from "../kit/manifest";
import { styleOf, type Point } from "./marks";

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

const cache = new WeakMap<LogitContext, Densities>();

/** Returns the density curves of a context; several charts share them. */
export function densitiesOf(context: LogitContext): Densities {
  if (!cache.has(context)) cache.set(context, compute(context));
  return cache.get(context)!;
}

function compute({ real, fake, realSource }: LogitContext): Densities {
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
}

/** Returns a Gaussian kernel density estimate with Silverman's bandwidth. */
function estimate(sorted: number[], [low, high]: [number, number]): Point[] {
  const mean = sorted.reduce((a, b) => a + b) / sorted.length;
  const deviation = Math.sqrt(sorted.reduce((sum, x) => sum + (x - mean) ** 2, 0) / sorted.length);
  const bandwidth = Math.max(1.06 * deviation * sorted.length ** -0.2, (high - low) / NUM_POINTS);
  return Array.from({ length: NUM_POINTS + 1 }, (_, i) => {
    const x = low + ((high - low) * i) / NUM_POINTS;
    const sum = sorted.reduce((total, value) => total + Math.exp(-0.5 * ((x - value) / bandwidth) ** 2), 0);
    return { x, y: sum / (sorted.length * bandwidth) };
  });
}

/** What a picture of the curves, and of one marked image, says. */
export function describe({ curves }: Densities, logit: number | null, isProbability: boolean): string {
  const parts = curves.map(({ name, sorted }) => {
    const [low, median, high] = [0.05, 0.5, 0.95].map((q) => signed(sorted[Math.floor(q * (sorted.length - 1))]));
    return `${name}: median ${median}, 90 % from ${low} to ${high}`;
  });
  const marked = logit === null ? "" : ` This image: ${signed(logit)}.`;
  return `Distribution of D's ${isProbability ? "log-odds" : "output"}. ${parts.join("; ")}.${marked}`;
}

/** Says where a number stands among the others. */
export function rankOf({ curves }: Densities, logit: number): string {
  if (!curves.length) return "";
  const below = (sorted: number[]) => sorted.filter((value) => value < logit).length / sorted.length;
  const parts = curves.map(({ name, sorted }) => `${percent(below(sorted))} of ${name}`);
  return `Higher than for ${parts.join(" and ")}.`;
}
