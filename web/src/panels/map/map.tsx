/** The map, which moves by dragging, wheel and keys. */
import { effect } from "@preact/signals";
import type { TargetedPointerEvent } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { ARROWS } from "../../kit/roving";
import { useSize } from "../../kit/size";
import type { Point } from "./cells";
import type { Model } from "./model";
import { drawMap } from "./picture";

const WHEEL_STEP = 60; // Wheel movement, in pixels, for one step of zoom
const CLICK_DISTANCE = 4; // Pixels that a pointer may move and still click
type PointerAt = TargetedPointerEvent<HTMLDivElement>;

export function MapView({ model }: { model: Model }) {
  const { state, cells, hovered, center, goTo } = model;
  const { ref, width } = useSize();
  const drag = useRef<(Point & { center: Point; moved: boolean }) | null>(null);
  const wheel = useRef(0);
  useLayoutEffect(() => (width ? effect(() => drawMap(model, width)) : undefined), [model, width]);
  useEffect(() => () => cells.peek().stop(), [model]);

  const placeAt = ({ clientX, clientY, currentTarget }: PointerAt) => {
    const box = currentTarget.getBoundingClientRect();
    const scale = state.extent.value / width;
    const { x, y } = center();
    return cells.value.placeAt({
      x: x + (clientX - box.left - width / 2) * scale,
      y: y - (clientY - box.top - width / 2) * scale,
    });
  };
  const onPointerDown = (event: PointerAt) => {
    if (event.button !== 0) return;
    drag.current = { x: event.clientX, y: event.clientY, center: center(), moved: false };
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const onPointerMove = (event: PointerAt) => {
    const from = drag.current;
    if (!from) {
      const place = placeAt(event);
      if (place.column !== hovered.value?.column || place.row !== hovered.value.row) hovered.value = place;
      return;
    }
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    if (!from.moved && Math.hypot(dx, dy) < CLICK_DISTANCE) return;
    from.moved = true;
    hovered.value = null;
    const scale = state.extent.value / width;
    goTo({ x: from.center.x - dx * scale, y: from.center.y + dy * scale });
  };
  const onPointerEnd = (event: PointerAt) => {
    const from = drag.current;
    if (!from) return;
    drag.current = null;
    if (!from.moved && event.type === "pointerup") model.select(placeAt(event));
    else model.move(0, 0); // whole cells again
  };
  const onWheel = (event: WheelEvent & { currentTarget: Element }) => {
    // Only with the focus: else the map would catch a reader who scrolls the page.
    if (document.activeElement !== event.currentTarget && !event.ctrlKey) return;
    event.preventDefault();
    wheel.current -= event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1);
    const steps = Math.trunc(wheel.current / WHEEL_STEP);
    wheel.current -= steps * WHEEL_STEP;
    if (steps) model.zoom(Math.sign(steps));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) (event.shiftKey ? model.selectNext : model.move)(arrow[0], -arrow[1]);
    else if (event.key === "+" || event.key === "=") model.zoom(1);
    else if (event.key === "-") model.zoom(-1);
    else return;
    event.preventDefault();
  };
  return (
    <div
      ref={ref}
      class="map-view"
      tabIndex={0}
      role="application"
      aria-label="Map of generated images. Arrow keys move it, Shift and arrow keys select an image, plus and minus zoom."
      aria-busy={cells.value.busy.value}
      onPointerCancel={onPointerEnd}
      onPointerUp={onPointerEnd}
      onPointerLeave={() => !drag.current && (hovered.value = null)}
      {...{ onKeyDown, onPointerDown, onPointerMove, onWheel }}
    >
      <canvas ref={model.canvas} aria-hidden="true" />
    </div>
  );
}
