/** Lines over the steps in a frame, aligned with the heat maps: gradient norms on a logarithmic axis, a number, the input. */
import { extent } from "d3-array";
import type { ComponentChildren } from "preact";
import { formatLimit, superscript } from "../kit/format";
import { Grid, Legend, Line, styleOf, type Point } from "./marks";
import { canShow } from "./series";
import { clamped, fitTicks, makeScale, type Scale } from "./scale";
import { StepFrame, type Steps } from "./steps";

const MAX_DOTS = 60; // Most steps with a dot each
const MAX_DECADES = 30; // Orders of magnitude that a logarithmic axis shows at most
/** Least distance of two ticks, and the margin above and below, in CSS pixels. */
const [TICK, MARGIN] = [30, 6];

export interface StepLine {
  name: string;
  values: ArrayLike<number>; // One per step
  color: number; // Index of its color
  dashed?: boolean;
}

interface StepLinesProps {
  title: ComponentChildren;
  label: string; // Accessible name: the message
  lines: StepLine[];
  isLog?: boolean;
  level?: { value: number; name: string } | null;
  steps: Steps;
  selected: number;
  readout: string;
  onSelect: (step: number) => void;
}

const styleOfLine = ({ color, dashed }: StepLine) => `${styleOf(color)}${dashed ? " dashed" : ""}`;

export function StepLines(props: StepLinesProps) {
  const { title, label, lines, isLog = false, level, steps, selected, readout, onSelect } = props;
  const isShown = (value: number) => canShow(value, isLog);
  const nameTick = (tick: number) => (isLog ? `10${superscript(Math.round(Math.log10(tick)))}` : formatLimit(tick, 6));
  const onClick = (event: MouseEvent & { currentTarget: Element }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const step = Math.floor(((event.clientX - box.left) / box.width) * steps.count);
    if (step >= 0 && step < steps.count) onSelect(step);
  };
  const keys = lines.map((line) => ({ name: line.name, style: styleOfLine(line) }));
  const legend = <Legend lines={level ? [...keys, { name: level.name, style: "reference" }] : keys} />;
  const draw = (width: number, height: number) => {
    if (!width || !height) return { rows: [], picture: null }; // before the first layout
    const y = valueScale(lines, level?.value, isLog, isShown, height);
    const shown = fitTicks(y, () => TICK, 6);
    const place = (points: Point[]) => points.map((point) => ({ x: point.x, y: y(point.y) }));
    const picture = (
      <div class="steps-lines" onClick={onClick}>
        <svg role="img" class="steps-chart" viewBox={`0 0 ${width} ${height}`} aria-label={label}>
          <Grid scale={y} ticks={shown} left={0} right={width} />
          {level && (
            <Line
              style="reference"
              symbol={null}
              area={0}
              points={place([0, width].map((x) => ({ x, y: level.value })))}
            />
          )}
          {lines.map((line) => (
            <Line
              key={line.name}
              style={styleOfLine(line)}
              symbol={line.values.length > MAX_DOTS ? null : 0}
              points={place(pointsOf(line.values, width, steps.count, isShown))}
              area={28}
            />
          ))}
        </svg>
        <div
          class="heatmap-column"
          aria-hidden="true"
          style={{ left: `${(100 * selected) / steps.count}%`, width: `${100 / steps.count}%` }}
        />
      </div>
    );
    return { rows: shown.map((tick) => ({ place: y(tick) / height, name: nameTick(tick) })), picture };
  };
  return (
    <StepFrame {...{ title, legend, steps, selected, readout }} height="11rem">
      {draw}
    </StepFrame>
  );
}

function valueScale(
  lines: StepLine[],
  level: number | undefined,
  isLog: boolean,
  isShown: (value: number) => boolean,
  height: number,
): Scale {
  const shown = lines.flatMap(({ values }) => Array.from(values).filter(isShown));
  let [low = isLog ? 0.1 : 0, high = 1] = extent(level === undefined ? shown : [level, ...shown]);
  if (isLog) {
    const top = Math.ceil(Math.log10(high) - 1e-9);
    const bottom = Math.max(Math.min(Math.floor(Math.log10(low) + 1e-9), top - 1), top - MAX_DECADES);
    [low, high] = [10 ** bottom, 10 ** top];
  }
  const scale = clamped(makeScale(isLog ? "log" : "linear", [low, high], [height - MARGIN, MARGIN], true));
  if (isLog) scale.ticks = scale.ticks.filter((list) => list.every((tick) => Number.isInteger(Math.log10(tick))));
  return scale;
}

/** Returns the points of a line. With more steps than pixels each pixel has the smallest and the largest of its values. */
function pointsOf(values: ArrayLike<number>, width: number, slots: number, isShown: (value: number) => boolean) {
  const per = Math.max(1, Math.floor(values.length / width));
  const points: Point[] = [];
  for (let begin = 0; begin < values.length; begin += per) {
    const bin = Array.from({ length: Math.min(per, values.length - begin) }, (_, k) => values[begin + k]);
    const shown = bin.filter(isShown);
    const ends = !shown.length ? [NaN] : per > 1 ? [Math.min(...shown), Math.max(...shown)] : shown;
    for (const y of ends) points.push({ x: ((begin + per / 2) / slots) * width, y });
  }
  return points;
}
