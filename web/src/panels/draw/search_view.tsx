/** The search as it goes on: the error of every start, and the images that they have reached. */
import type { ReadonlySignal } from "@preact/signals";
import { Chart } from "../../charts/chart";
import type { Projection } from "../../compute/projection";
import { precise } from "../../kit/format";
import { Image, type ImageShape } from "../../kit/image";
import { row, size } from "../../kit/tensors";
import { formatError } from "./result";

/** A new object tells that the projection has gone on. */
export interface Progress {
  projection: Projection;
  baseline?: number; // Error that the search reaches for a real image
}

export function SearchView({ shape, of }: { shape: ImageShape; of: ReadonlySignal<Progress | null> }) {
  if (!of.value) return null;
  const { projection, baseline } = of.value;
  const { images, errors, step, steps, candidateErrors, latents, done } = projection;
  const best = latents.length ? projection.best : -1; // none while random latents are tried
  const numTried = candidateErrors.length;
  const status = done
    ? `Of ${numTried} random latents the ${errors.length} best went ${steps} steps down the gradient.`
    : best < 0
      ? `Trying ${numTried} random latents.`
      : `Step ${step} of ${steps}`;
  const series = [...new Set(best < 0 ? [] : [best, ...errors.keys()])].map((start) => {
    const [x, y] = [[...errors[start].keys()], [...errors[start]]];
    return { name: `start ${start + 1}`, x, y, strong: start === best };
  });
  return (
    <section class="card draw-search" aria-label="Search">
      <h3>The search</h3>
      <p class="muted">{status}</p>
      <div class="columns">
        <Chart
          title="Error of every start: root-mean-square difference of the pixels"
          xLabel="step of gradient descent"
          yLabel=""
          series={series}
          references={baseline === undefined ? [] : [{ name: "a real image", value: baseline }]}
          xDomain={[0, steps]}
          yDomain={[0, null]}
          formatY={(error) => precise(error, 2)}
        />
        <div class="row starts">
          {errors.map((curve, start) => (
            <figure key={start} aria-current={start === best}>
              <Image
                pixels={best < 0 ? null : row(images, start, size(shape)).slice()}
                shape={shape}
                label={`Image of start ${start + 1}`}
              />
              <figcaption>
                Start {start + 1}:{" "}
                <span class="number">{curve.length > 0 && formatError(curve[curve.length - 1])}</span>{" "}
                <strong>{start === best && (done ? "chosen" : "best so far")}</strong>
              </figcaption>
            </figure>
          ))}
        </div>
      </div>
    </section>
  );
}
