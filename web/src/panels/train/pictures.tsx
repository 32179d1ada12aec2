/** What a GAN makes of 25 latents, always the same, and what D says of the latest images that it saw. */
import { Distribution } from "../../charts/distribution";
import { Image, type ImageShape } from "../../kit/image";
import { row } from "../../kit/tensors";
import type { Line } from "./session";

const COUNT = 25;

export const Pictures = ({ lines }: { lines: Line[] }) => (
  <section class="columns train-main">
    {[...lines].reverse().map(({ name, seen: { grid, logits, status } }) => {
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
            </div>
          </div>
        </div>
      );
    })}
  </section>
);
