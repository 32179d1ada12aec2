/** Colors of classes, and what stands for their names where there is little room. No class is told by its color alone. */

/** Text on each of them is black: contrast at least 7. */
const COLORS = [
  ...["#6fb7e6", "#f2a33a", "#7cc77c", "#ef8a86", "#bfa3e0"],
  ...["#c79f8c", "#eba3cf", "#b4b4b4", "#cfd04f", "#58c9cf"],
];

export const classColor = (classIndex: number) => COLORS[classIndex % COLORS.length];

/** A name of at most three letters, else the index. */
export const shortName = (names: string[], classIndex: number) =>
  names[classIndex]?.length <= 3 ? names[classIndex] : String(classIndex);

export const ClassLegend = ({ names }: { names: string[] }) => (
  <div class="row class-legend" role="list" aria-label="Colors of the predicted classes">
    {names.map((name, k) => (
      <div key={k} role="listitem">
        <span style={{ background: classColor(k) }}>{shortName(names, k)}</span>
        {shortName(names, k) !== name && name}
      </div>
    ))}
  </div>
);
