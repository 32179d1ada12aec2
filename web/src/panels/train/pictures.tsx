/** What a GAN makes of 25 latents, always the same, and on which classes its images fall. */
import { ClassColumns } from "../../charts/bars";
import { Image, type ImageShape } from "../../kit/image";
import { row } from "../../kit/tensors";
import type { Line } from "./branch";

const COUNT = 25;
/** Classes of noise are all the same: they say something once the most frequent one has at most this part. */
const [MIN_IMAGES, MAX_PART] = [20, 0.5];

interface PicturesProps {
  lines: Line[];
  /** Of the classifier. */
  classNames: string[];
}

export const Pictures = ({ lines, classNames }: PicturesProps) => (
  <div class="columns train-grids">
    {[...lines].reverse().map(({ name, seen: { grid, status, classes } }) => {
      if (!grid) return null;
      const pixels = grid.length / COUNT;
      const side = Math.sqrt(pixels);
      const shape: ImageShape = [1, side, side];
      const text = lines.length > 1 ? `${name}: ` : "";
      return (
        <div key={name}>
          <p>
            {status.step
              ? `${text}What G makes of 25 random inputs, after update ${status.step}`
              : `${text}Before training, G makes noise of its 25 random inputs.`}
          </p>
          <div class="pictures" role="img" aria-label={`Images of 25 latents at update ${status.step}`}>
            {Array.from({ length: COUNT }, (_, n) => (
              <Image key={n} pixels={row(grid, n, pixels)} shape={shape} />
            ))}
          </div>
          <Classes classes={classes} names={classNames} />
        </div>
      );
    })}
  </div>
);

/** How images fall on the classes, once they can be told apart. */
function Classes({ classes, names }: { classes: number[]; names: string[] }) {
  const fractions = names.map((_, k) => classes.filter((found) => found === k).length / classes.length);
  if (classes.length < MIN_IMAGES || Math.max(...fractions) > MAX_PART) return null;
  const what = `Classes of the latest ${classes.length} generated images`;
  return (
    <>
      <p class="note">{`${what}, by a classifier`}</p>
      <ClassColumns names={names} probabilities={fractions} what={what} />
    </>
  );
}
