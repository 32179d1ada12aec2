/** The drawing pad: a canvas for mouse, touch and pen, and for the arrow keys. */
import { useSignal, type Signal } from "@preact/signals";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { announce } from "../../kit/announce";
import { clamp } from "../../kit/format";
import type { ImageShape } from "../../kit/image";
import { MAX, paint, paintStroke, type Color, type Point, type Stroke } from "./strokes";

/** Pixels of the longer side of the canvas. */
const SIDE = 336;
/** Units that an arrow key moves the cursor, and with the Shift key. */
const [NEAR, FAR] = [6, 24];
/** Points nearer than this to the one before are left out. */
const MIN_DISTANCE = 2;

const ARROWS: Record<string, Point> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Size of the canvas for drawings that become images of a shape. */
export function padSize([, height, width]: ImageShape) {
  const scale = SIDE / Math.max(height, width);
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
}

interface PadProps {
  shape: ImageShape;
  /** Image below the strokes. */
  base: Float32Array | null;
  of: Signal<Stroke[]>;
  /** Of the next stroke. */
  pen: { width: number; color: Color };
  onChange: (strokes: Stroke[]) => void;
  onUndo: () => void;
}

export function Pad({ shape, base, of, pen, onChange, onUndo }: PadProps) {
  const id = useId();
  const ref = useRef<HTMLCanvasElement>(null);
  /** The stroke that is being drawn. */
  const stroke = useSignal<Stroke | null>(null);
  /** Of the keyboard. */
  const cursor = useSignal<Point>([MAX / 2, MAX / 2]);
  const isMarked = useSignal(false);
  const repaint = () => paint(ref.current!, base, shape, of.peek());
  useLayoutEffect(repaint, [base, of.value]);

  const begin = (point: Point) => {
    stroke.value = { ...pen, points: [point] };
    paintStroke(ref.current!, stroke.value);
  };
  const extend = (point: Point) => {
    if (!stroke.value) return;
    const { points } = stroke.value;
    const [x, y] = points[points.length - 1];
    if (Math.hypot(point[0] - x, point[1] - y) < MIN_DISTANCE) return;
    points.push(point);
    paintStroke(ref.current!, stroke.value, points.length - 2);
  };
  const end = () => {
    const done = stroke.value;
    stroke.value = null;
    // Painted at once, as a restored drawing: a stroke painted bit by bit has other edges.
    if (done) onChange([...of.value, done]);
  };
  const undo = () => {
    if (!stroke.value) return onUndo();
    stroke.value = null;
    repaint();
  };
  const togglePen = () => {
    if (stroke.value) {
      end();
      return announce("Pen lifted.");
    }
    begin(rounded(cursor.value));
    const [x, y] = cursor.value.map((unit) => Math.round((100 * unit) / MAX));
    announce(`Pen down, ${x} % from the left, ${y} % from the top.`);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const arrow = ARROWS[event.key];
    if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) undo();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (arrow) {
      const distance = event.shiftKey ? FAR : NEAR;
      cursor.value = cursor.value.map((unit, axis) => clamp(unit + arrow[axis] * distance, 0, MAX)) as Point;
      extend(rounded(cursor.value));
    } else if (event.key === " ") togglePen();
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
  const { width, height } = padSize(shape);
  const [left, top] = cursor.value.map((unit) => `${(100 * unit) / MAX}%`);
  return (
    <div class="pad">
      <div class="pad-frame">
        <canvas
          {...{ ref, width, height, onKeyDown, onPointerDown, onPointerMove, onBlur }}
          tabIndex={0}
          role="application"
          aria-label="Drawing pad"
          aria-describedby={id}
          onPointerUp={end}
          onPointerCancel={end}
        />
        {isMarked.value && (
          <span class={stroke.value ? "pad-marker down" : "pad-marker"} style={{ left, top }} aria-hidden="true" />
        )}
        {!base && !of.value.length && !stroke.value && (
          <span class="pad-hint" aria-hidden="true">
            Draw here
          </span>
        )}
      </div>
      <small id={id}>
        Mouse, finger or pen. Keyboard: <kbd>arrow keys</kbd> move, <kbd>Space</kbd> puts the pen down and lifts it.
      </small>
    </div>
  );
}

const rounded = ([x, y]: Point): Point => [Math.round(x), Math.round(y)];
