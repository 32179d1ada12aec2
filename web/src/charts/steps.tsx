/**
 * Pictures over time steps: a caption, the axis of the rows, the picture in a box that scrolls, the axis of the steps, and a
 * line that reads out a value. All have the same margins, so that their steps align.
 */
import { ticks } from "d3-array";
import { type Signal, useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { announce } from "../kit/announce";
import { useSize } from "../kit/size";
import { Heatmap, HeatmapLegend, type Cell, type HeatmapContent } from "./heatmap";

const MAX_NAME = 2; // Characters of a name below a column
const MAX_LABELLED = 60; // Up to so many steps each column has its number and its symbol
const MIN_COLUMN = 0.8; // rem, the width of a labeled column
const DIGIT = 14; // CSS pixels of a digit of a step number, with what stands around it

export interface Steps {
  count: number;
  names: string[] | null; // What the network reads at each step, in few characters; null if that is too long
  others: string[] | null; // The same of the second sequence, null without one
}

/** A name at the axis of the rows, from top (0) to bottom (1). */
export type RowLabel = { place: number; name: string; marked?: boolean };

interface FrameProps {
  title: ComponentChildren;
  note?: string; // What it means
  legend?: ComponentChildren;
  height: string; // Of the picture, in CSS
  steps: Steps;
  selected: number; // Step that must be visible
  readout: string;
}

type Picture = (width: number, height: number) => { rows: RowLabel[]; picture: ComponentChildren };

/** The frame of a picture, which `children` makes for a size in CSS pixels. */
export function StepFrame({ children, ...props }: FrameProps & { children: Picture }) {
  const { title, note, legend, height, steps, selected, readout } = props;
  const { ref: plot, width, height: pixels } = useSize();
  const scroll = useRef<HTMLDivElement>(null);
  const isLabelled = steps.names !== null && steps.count <= MAX_LABELLED;
  useLayoutEffect(() => {
    const box = scroll.current!;
    const scrolls = box.scrollWidth > box.clientWidth;
    // A box that scrolls is reachable with the keyboard, unless something in it is.
    if (scrolls && !box.querySelector("[tabindex]")) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    const [start, end] = [selected, selected + 1].map((step) => (step / steps.count) * box.scrollWidth);
    if (start < box.scrollLeft) box.scrollLeft = start;
    else if (end > box.scrollLeft + box.clientWidth) box.scrollLeft = end - box.clientWidth;
  }, [selected, steps.count, width]);
  const { rows, picture } = children(width, pixels);
  return (
    <figure class="steps" style={{ "--plot-height": height }}>
      <figcaption class="row">
        <span>
          <span class="steps-title">{title}</span>
          {note && `: ${note}`}
        </span>
        {legend}
      </figcaption>
      <div class="steps-body">
        <div class="steps-rows" aria-hidden="true">
          {rows.map(({ place, name, marked }) => (
            <span key={place} class={marked ? "marked" : ""} title={name} style={{ top: `${100 * place}%` }}>
              {name}
            </span>
          ))}
        </div>
        <div class="steps-scroll" ref={scroll}>
          <div class="steps-content" style={{ minWidth: isLabelled ? `${steps.count * MIN_COLUMN}rem` : "12rem" }}>
            <div class="steps-plot" ref={plot}>
              {picture}
            </div>
            <StepAxis {...steps} names={isLabelled ? steps.names : null} width={width || 1} />
          </div>
        </div>
        <p class="steps-readout">{readout}</p>
      </div>
    </figure>
  );
}

function StepAxis({ count, names, others, width }: Steps & { width: number }) {
  const left = (t: number) => ({ left: `${(100 * (t + 0.5)) / count}%` });
  const label = (1 + String(count).length) * DIGIT;
  const numbers = ticks(1, count, Math.max(2, Math.floor(width / label))).filter(Number.isInteger);
  return (
    <div class="steps-axis" aria-hidden="true" style={{ height: names ? (others ? "3.9rem" : "2.6rem") : "1.2rem" }}>
      {numbers.map((number) => (
        <span key={number} style={left(number - 1)}>
          {number}
        </span>
      ))}
      {names &&
        names.map((name, t) => (
          <span key={`name ${t}`} class="steps-symbol" style={left(t)}>
            {shorten(name)}
            {others && (
              <span class={others[t] === name ? "steps-other" : "steps-other changed"}>{shorten(others[t])}</span>
            )}
          </span>
        ))}
    </div>
  );
}

const shorten = (name = "") => (name === "blank" ? "·" : name.slice(0, MAX_NAME));

interface StepMapProps {
  title: ComponentChildren;
  note?: string;
  name: string; // For those who use a screen reader
  height: string;
  content: HeatmapContent;
  steps: Steps;
  rows: RowLabel[];
  selection: Cell;
  hover?: Signal<Cell | null>; // Of maps that follow each other
  describe: (cell: Cell) => string;
  onSelect: (cell: Cell) => void;
}

/** A heat map over the steps, with a line that reads out the cell at hand. */
export function StepMap(props: StepMapProps) {
  const { title, note, name, height, content, steps, rows, selection, describe, onSelect } = props;
  const own = useSignal<Cell | null>(null);
  const hover = props.hover ?? own;
  const hovered = hover.value;
  const onMove = (cell: Cell | null, isKeyboard = false) => {
    hover.value = cell;
    if (cell && isKeyboard) announce(describe(cell));
  };
  return (
    <StepFrame
      {...{ title, note, height, steps }}
      legend={<HeatmapLegend scale={content.scale} />}
      selected={selection.column}
      readout={describe(hovered ?? selection)}
    >
      {(width) => ({
        rows,
        picture: <Heatmap {...content} {...{ name, width, selection, hovered, onMove, onSelect }} />,
      })}
    </StepFrame>
  );
}
