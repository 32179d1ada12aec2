/** What D says of some real and some generated images: one dot per image. */
import { styleOf, Symbol } from "../../charts/marks";
import { makeScale } from "../../charts/scale";
import { sigmoid } from "../../kit/math";
import type { SnapshotSpec } from "../../kit/manifest";

/** Width and height of a row in its own units; CSS gives the size. */
const [WIDTH, HEIGHT, MARGIN] = [320, 26, 6];

type RowProps = { name: string; series: number; values: number[]; domain: [number, number] };

function Dots({ name, series, values, domain }: RowProps) {
  const mean = values.reduce((a, b) => a + b) / values.length;
  const x = makeScale("linear", domain, [MARGIN, WIDTH - MARGIN]);
  const texts = values.map((value) => value.toFixed(2));
  return (
    <div>
      <span>
        <strong>{name}</strong> mean {mean.toFixed(2)}
      </span>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        class={styleOf(series)}
        role="img"
        aria-label={`D for ${name}: ${texts.join(", ")}`}
      >
        <path class="axis" d={`M${x(domain[0])},${HEIGHT / 2}H${x(domain[1])}`} />
        <path class="axis" stroke-dasharray="2 2" d={`M${WIDTH / 2},1V${HEIGHT - 1}`} />
        {values.map((value, k) => (
          <Symbol key={k} index={series} area={70} x={x(value)} y={HEIGHT / 2} />
        ))}
        <path class="mark" d={`M${x(mean)},2V${HEIGHT - 2}`} />
      </svg>
    </div>
  );
}

/** Fraction of the pairs of a real and a generated image in which D finds the real one more real. */
function separation(real: number[], fake: number[]): number {
  let wins = 0;
  for (const a of real) for (const b of fake) wins += a > b ? 1 : a === b ? 0.5 : 0;
  return wins / (real.length * fake.length);
}

export function Verdicts({ moment, isProbability }: { moment: SnapshotSpec; isProbability: boolean }) {
  const { realLogits, fakeLogits } = moment;
  const all = [...realLogits, ...fakeLogits];
  const domain: [number, number] = isProbability ? [0, 1] : [Math.min(...all), Math.max(...all)];
  const values = (logits: number[]) => (isProbability ? logits.map(sigmoid) : logits);
  const ends = isProbability ? ["0: generated", "½", "1: real"] : ["lower: generated", "", "higher: real"];
  const pairs = Math.round(100 * separation(realLogits, fakeLogits));
  return (
    <div class="dots">
      <Dots name="real images" series={0} values={values(realLogits)} domain={domain} />
      <Dots name="these pictures" series={1} values={values(fakeLogits)} domain={domain} />
      <div class="dots-ends" aria-hidden="true">
        {ends.map((end) => (
          <span key={end}>{end}</span>
        ))}
      </div>
      <p class="note">
        {`In ${pairs} % of all pairs of a real image and a picture, D gives the real one the higher number. 50 % is guessing.`}
        {!isProbability && " The loss of this run gives D a number without a unit, not a probability."}
      </p>
    </div>
  );
}
