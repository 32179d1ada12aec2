/** A diagram of a network: its parts in columns, the links between them, and what the part at hand does. */
import { lighting, lit } from "../kit/lit";
import { Roving } from "../kit/roving";

export interface DiagramPart {
  name: string;
  column: number;
  about: string; // What it is, and how it is computed
}

interface DiagramProps {
  name: string; // For those who use a screen reader
  parts: DiagramPart[];
  links: [from: string, to: string][];
  note: string; // Shown while no part is at hand
}

const [WIDTH, HEIGHT, GAP] = [40, 22, 48]; // Of a part, and from column to column
const SCALE = 14; // Units in a rem, so that all diagrams have letters of one size

export function Diagram({ name, parts, links, note }: DiagramProps) {
  const columns = Map.groupBy(parts, ({ column }) => column);
  const height = Math.max(...[...columns.values()].map(({ length }) => length)) * (HEIGHT + 5);
  const width = Math.max(...columns.keys()) * (WIDTH + GAP) + WIDTH + 2;
  const places = Object.fromEntries(
    [...columns].flatMap(([column, inside]) =>
      inside.map((part, k) => [part.name, { x: column * (WIDTH + GAP), y: ((k + 0.5) * height) / inside.length }]),
    ),
  );
  const at = parts.find((part) => part.name === lit.value);
  const isOn = (link: string[]) => at && link.includes(at.name);
  return (
    <div class="diagram">
      <Roving label={name} stop={0}>
        <svg viewBox={`-1 0 ${width} ${height}`} style={{ maxWidth: `${width / SCALE}rem` }}>
          {[...links]
            .sort((a, b) => Number(isOn(a)) - Number(isOn(b)))
            .map((link) => {
              const [from, to] = link.map((one) => places[one]);
              const [x, middle] = [from.x + WIDTH, (from.x + WIDTH + to.x) / 2];
              return (
                <path
                  key={link.join()}
                  class={isOn(link) ? "mark" : "chart-grid"}
                  fill="none"
                  d={`M${x},${from.y}C${middle},${from.y} ${middle},${to.y} ${to.x},${to.y}`}
                />
              );
            })}
          {parts.map((part) => {
            const { x, y } = places[part.name];
            const handlers = lighting(part.name);
            return (
              <g
                key={part.name}
                role="button"
                aria-label={`${part.name}: ${part.about}`}
                onClick={handlers.onFocusIn}
                {...handlers}
              >
                <rect
                  class={part === at ? "mark" : undefined}
                  {...{ x, y: y - HEIGHT / 2, width: WIDTH, height: HEIGHT, rx: 5 }}
                />
                <text x={x + WIDTH / 2} y={y} dy="0.35em" text-anchor="middle" font-size={13}>
                  {part.name}
                </text>
              </g>
            );
          })}
        </svg>
      </Roving>
      <p class="note">{at ? at.about : note}</p>
    </div>
  );
}
