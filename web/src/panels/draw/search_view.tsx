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
  /** Error that the search reaches for a real image. */
  baseline?: number;
}

export function SearchView({ shape, of }: { shape: ImageShape; of: ReadonlySignal<Progress | null> }) {
  if (!of.value) return null;
  const { projection, baseline } = of.value;
  const { images, errors, best, step, steps, candidateErrors, latents, done } = projection;
  const isTrying = !latents.length;
  const status = done
    ? `Of ${candidateErrors.length} random latents the ${errors.length} best went ${steps} steps down the gradient.`
    : isTrying
      ? `Trying ${candidateErrors.length} random latents.`
      : `Step ${step} of ${steps}`;
  const order = isTrying ? [] : [...new Set([best, ...errors.keys()])];
  return (
    <section class="card draw-search" aria-label="Search">
      <h3>The search</h3>
      <p class="muted number">{status}</p>
      <div class="columns">
        <Chart
          title="Error of every start: root-mean-square difference of the pixels"
          xLabel="step of gradient descent"
          yLabel=""
          series={order.map((start) => ({
            name: `start ${start + 1}`,
            x: [...errors[start].keys()],
            y: [...errors[start]],
            strong: start === best,
          }))}
          references={baseline === undefined ? [] : [{ name: "a real image", value: baseline }]}
          xDomain={[0, steps]}
          yDomain={[0, null]}
          formatY={(error) => precise(error, 2)}
        />
        <ol class="starts">
          {errors.map((curve, start) => {
            const isBest = !isTrying && start === best;
            return (
              <li key={start} class={isBest ? "chosen" : ""}>
                <Image
                  pixels={isTrying ? null : row(images, start, size(shape)).slice()}
                  shape={shape}
                  label={`Image of start ${start + 1}`}
                />
                <span>
                  {`Start ${start + 1}: `}
                  <span class="number">{curve.length > 0 && formatError(curve[curve.length - 1])}</span>
                </span>
                <strong class="mark">{isBest && (done ? "chosen" : "best so far")}</strong>
              </li>
            );
          })}
        </ol>
      </div>
    </section>
  );
}
