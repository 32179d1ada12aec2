/**
 * Heat map of values over columns (time) and rows: one color per value, marks of the selected cell, its column and a row, and
 * selection by mouse, touch and keyboard.
 */
import { useLayoutEffect, useRef } from "preact/hooks";
import { clamp, formatLimit } from "../kit/format";
import { MOVES } from "../kit/roving";
import { binColumns, type ColorScale, drawValues } from "./colors";

export interface HeatmapContent {
  values: Float64Array; // [columns, rows]
  columns: number;
  rows: number;
  order: ArrayLike<number> | null; // Rows from top to bottom; null for their own order
  scale: ColorScale;
  label: string; // Accessible name: the message of the picture
  marked?: number | null; // A row to mark, such as the target class
}

export type Cell = { column: number; row: number };

interface HeatmapProps extends HeatmapContent {
  name: string; // For those who use a screen reader, such as "forget gate f"
  width: number; // Width in CSS pixels; more columns are decimated
  selection: Cell;
  hovered: Cell | null; // Cell at hand, by pointer or keyboard
  /** Pointer or keyboard is at a cell, or has left. */
  onMove: (cell: Cell | null, isKeyboard?: boolean) => void;
  onSelect: (cell: Cell) => void;
}

const JUMPS: typeof MOVES = { ...MOVES, PageUp: [-10, 0], PageDown: [10, 0] };

export function Heatmap(props: HeatmapProps) {
  const { name, values, columns, rows, order, scale, label, marked, width, selection, hovered } = props;
  const { onMove: move, onSelect } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    if (!width) return; // before the first layout
    const bins = Math.min(columns, Math.floor(width));
    drawValues(canvas.current!, binColumns(values, columns, rows, bins), bins, rows, order, scale);
  }, [values, columns, rows, order, scale.name, scale.limit, width]);
  const placeOf = (row: number) => (order ? Array.prototype.indexOf.call(order, row) : row);
  const rowAt = (place: number) => (order ? order[place] : place);
  const columnStyle = (column: number) => ({ left: `${(100 * column) / columns}%`, width: `${100 / columns}%` });
  const rowStyle = (row: number) => ({ top: `${(100 * placeOf(row)) / rows}%`, height: `${100 / rows}%` });
  const cellStyle = ({ column, row }: Cell) => ({ ...columnStyle(column), ...rowStyle(row) });
  const cellAt = (event: MouseEvent): Cell | null => {
    const box = canvas.current!.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const place = Math.floor(((event.clientY - box.top) / box.height) * rows);
    return column < 0 || column >= columns || place < 0 || place >= rows ? null : { column, row: rowAt(place) };
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const from = hovered ?? selection;
    const direction = JUMPS[event.key];
    if (event.key === "Enter" || event.key === " ") onSelect(from);
    else if (direction) {
      const place = clamp(placeOf(from.row) + direction[1], 0, rows - 1);
      move({ column: clamp(from.column + direction[0], 0, columns - 1), row: rowAt(place) }, true);
    } else return;
    event.preventDefault();
  };
  return (
    <div
      class="heatmap"
      role="application"
      tabIndex={0}
      aria-label={`Cells of the ${name}: move with the arrow keys, select with Enter`}
      onPointerMove={(event) => move(cellAt(event))}
      onPointerLeave={() => move(null)}
      onClick={(event) => {
        const cell = cellAt(event);
        if (cell) onSelect(cell);
      }}
      onKeyDown={onKeyDown}
      onBlur={() => move(null)}
    >
      <canvas role="img" aria-label={label} ref={canvas} />
      <div class="heatmap-column" aria-hidden="true" style={columnStyle(selection.column)} />
      {typeof marked === "number" && <div class="heatmap-marked" aria-hidden="true" style={rowStyle(marked)} />}
      {hovered && <div class="heatmap-hover" aria-hidden="true" style={cellStyle(hovered)} />}
      <div class="heatmap-cell" aria-hidden="true" style={cellStyle(selection)} />
    </div>
  );
}

export const HeatmapLegend = ({ scale: { name, limit } }: { scale: ColorScale }) => (
  <span class="row">
    <span>{name === "sequential" ? "0" : formatLimit(-limit)}</span>
    <span class="heatmap-bar" style={{ background: `linear-gradient(to right, var(--${name}))` }} />
    <span>{name === "sequential" ? formatLimit(limit) : `+${formatLimit(limit)}`}</span>
  </span>
);
