/** The drawing pad: a canvas for mouse, touch and pen, and for the arrow keys. */
import { useSignal, type Signal } from "@preact/signals";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { announce } from "../../kit/announce";
import { clamp } from "../../kit/format";
import type { ImageShape } from "../../kit/image";
import { ARROWS } from "../../kit/roving";
import { MAX, padSize, paint, paintStroke, type Color, type Point, type Stroke } from "./strokes";

const [NEAR, FAR] = [6, 24]; // Units that an arrow key moves the cursor, and with the Shift key
const MIN_DISTANCE = 2; // Points nearer than this to the one before are left out

const rounded = ([x, y]: Point): Point => [Math.round(x), Math.round(y)];

interface PadProps {
  shape: ImageShape;
  base: Float32Array | null; // Image below the strokes
  of: Signal<Stroke[]>;
  pen: { width: number; color: Color };
  onChange: (strokes: Stroke[]) => void;
  onUndo: () => void;
}

export function Pad({ shape, base, of, pen, onChange, onUndo }: PadProps) {
  const id = useId();
  const ref = useRef<HTMLCanvasElement>(null);
  const stroke = useSignal<Stroke | null>(null);
  const cursor = useSignal<Point>([MAX / 2, MAX / 2]);
  const isMarked = useSignal(false);
  const repaint = () => paint(ref.current!, base, shape, of.value);
  useLayoutEffect(repaint, [base, of.value]);

  const begin = (point: Point) => {
    stroke.value = { ...pen, points: [point] };
    paintStroke(ref.current!, stroke.value);
  };
  const extend = (point: Point) => {
    const last = stroke.value?.points.at(-1);
    if (!last || Math.hypot(point[0] - last[0], point[1] - last[1]) < MIN_DISTANCE) return;
    paintStroke(ref.current!, { ...stroke.value!, points: [last, point] });
    stroke.value!.points.push(point);
  };
  const end = () => {
    const done = stroke.value;
    stroke.value = null;
    // All is painted again, as when restored: a stroke painted bit by bit has other edges.
    if (done) onChange([...of.value, done]);
  };
  const undo = () => {
    if (!stroke.value) return onUndo();
    stroke.value = null;
    repaint();
  };
  const move = (arrow: Point, distance: number) => {
    cursor.value = cursor.value.map((unit, axis) => clamp(unit + arrow[axis] * distance, 0, MAX)) as Point;
    extend(rounded(cursor.value));
  };
  const togglePen = () => {
    const [x, y] = cursor.value.map((unit) => Math.round((100 * unit) / MAX));
    announce(stroke.value ? "Pen lifted." : `Pen down, ${x} % from the left, ${y} % from the top.`);
    if (stroke.value) end();
    else begin(rounded(cursor.value));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const hasModifier = event.ctrlKey || event.metaKey;
    if (event.key.toLowerCase() === "z" && hasModifier) undo();
    else if (hasModifier || event.altKey) return;
    else if (event.key in ARROWS) move(ARROWS[event.key], event.shiftKey ? FAR : NEAR);
    else if (event.key === " ") togglePen();
    else if (event.key === "Escape" && stroke.value) end();
    else return;
    event.preventDefault();
    isMarked.value = true;
  };
  const pointOf = ({ clientX, clientY }: PointerEvent): Point => {
    const { left, top, width, height } = ref.current!.getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / height].map((x) => Math.round(clamp(x, 0, 1) * MAX)) as Point;
  };
  const onPointerDown = (event: PointerEvent) => {
    if (event.button !== 0 || stroke.value) return;
    ref.current!.setPointerCapture(event.pointerId);
    isMarked.value = false;
    begin(pointOf(event));
  };
  const onPointerMove = (event: PointerEvent) => {
    if (!ref.current!.hasPointerCapture(event.pointerId)) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) extend(pointOf(move));
  };
  const onBlur = () => {
    isMarked.value = false;
    end();
  };
  const [left, top] = cursor.value.map((unit) => `calc(${(100 * unit) / MAX}% - 0.625rem)`);
  const marker = { left, top, background: stroke.value ? "#f0a35e" : "none" };
  return (
    <div class="pad">
      <div class="pad-frame">
        <canvas
          {...{ ref, ...padSize(shape), onKeyDown, onPointerDown, onPointerMove, onBlur }}
          {...{ onPointerUp: end, onPointerCancel: end }}
          {...{ tabIndex: 0, role: "application", "aria-label": "Drawing pad", "aria-describedby": id }}
        />
        {isMarked.value && <span class="pad-marker" style={marker} />}
        {!base && !of.value.length && !stroke.value && <span aria-hidden="true">Draw here</span>}
      </div>
      <p id={id} class="note">
        Mouse, finger or pen. Keyboard: <kbd>arrow keys</kbd> move, <kbd>Space</kbd> puts the pen down and lifts it.
      </p>
    </div>
  );
}
