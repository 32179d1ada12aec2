/** What a GAN makes of 25 latents, always the same, and what D and the classifier say of the latest images. */
import { ClassColumns } from "../../charts/bars";
import { Distribution } from "../../charts/distribution";
import { Image, type ImageShape } from "../../kit/image";
import { row } from "../../kit/tensors";
import type { Line } from "./branch";

const COUNT = 25;

interface PicturesProps {
  lines: Line[];
  /** Of the classifier. */
  classNames: string[];
}

export const Pictures = ({ lines, classNames }: PicturesProps) => (
  <section class="columns halves">
    {[...lines].reverse().map(({ name, seen: { grid, logits, status, classes } }) => {
      if (!grid) return null;
      const pixels = grid.length / COUNT;
      const side = Math.sqrt(pixels);
      const shape: ImageShape = [1, side, side];
      const text = lines.length > 1 ? `${name}: ` : "";
      return (
        <div key={name} class="card stack">
          <h3>{`${text}25 latents at update ${status.step}`}</h3>
          <div class="columns">
            <div class="pictures" role="img" aria-label={`Images of 25 latents at update ${status.step}`}>
              {Array.from({ length: COUNT }, (_, n) => (
                <Image key={n} pixels={row(grid, n, pixels)} shape={shape} />
              ))}
            </div>
            <div class="stack">
              <h3>What D said of the latest images</h3>
              <Distribution context={{ ...logits, realSource: "training images" }} logit={null} isProbability />
              {classes.length > 0 && <Classes classes={classes} names={classNames} />}
            </div>
          </div>
        </div>
      );
    })}
  </section>
);

/** How images fall on the classes. */
function Classes({ classes, names }: { classes: number[]; names: string[] }) {
  const fractions = names.map((_, k) => classes.filter((found) => found === k).length / classes.length);
  const what = `Classes of the latest ${classes.length} generated images`;
  return (
    <>
      <h3>{what}</h3>
      <ClassColumns names={names} probabilities={fractions} what={what} />
    </>
  );
}
