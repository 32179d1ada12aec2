/** Images of latents with what D and the classifier make of them. */
import { ClassBars } from "../charts/bars";
import { Distribution, scoreText } from "../charts/distribution";
import { topClass } from "../kit/format";
import type { GanContent } from "../kit/manifest";
import { row } from "../kit/tensors";
import type { Gan } from "./gan";

export interface Frame {
  latent: Float32Array; // z [Z]
  pixels: Float32Array; // [P]
  logit: number; // Of D
  probabilities: Float32Array | null; // Of the classes [K]; null without a classifier
}

/** Generates and examines the images of latents [N, Z]. */
export function makeFrames(gan: Gan, latents: Float32Array): Frame[] {
  const { latentSize } = gan.content;
  const images = gan.generate(latents);
  const logits = gan.discriminate(images, gan.classesOf(latents));
  const probabilities = gan.classify(images);
  const count = latents.length / latentSize;
  return Array.from({ length: count }, (_, n) => ({
    latent: row(latents, n, latentSize),
    pixels: row(images, n, gan.pixels),
    logit: logits[n],
    probabilities: probabilities && row(probabilities, n, probabilities.length / count),
  }));
}

/** Length of the noise part of a latent, beside that of random ones, in words. */
export function lengthText({ noiseSize }: GanContent, latent: Float32Array) {
  const length = Math.hypot(...latent.subarray(0, noiseSize));
  return { length: length.toFixed(1), typical: Math.sqrt(noiseSize).toFixed(1) };
}

/** The most probable class and its probability, or nothing without a classifier. */
export function classText({ classifier }: GanContent, { probabilities }: Frame): string {
  if (!classifier || !probabilities) return "";
  return topClass(classifier.classNames, probabilities).join(",\u00a0");
}

export const dText = ({ isLogOdds }: GanContent, { logit }: Frame) => scoreText(logit, isLogOdds);

export function frameText(content: GanContent, frame: Frame): string {
  const predicted = classText(content, frame);
  return [predicted && `Class\u00a0${predicted}`, dText(content, frame)].filter(Boolean).join(" · ");
}

/** What the classifier and D make of one image, one below the other or in columns. */
export function Readings({ content, frame, layout = "stack" }: { content: GanContent; frame: Frame; layout?: string }) {
  const { classifier, logits } = content;
  const { probabilities, logit } = frame;
  return (
    <div class={`${layout} readings`}>
      <section>
        <h3>Classifier: which class?</h3>
        {classifier && probabilities ? (
          <ClassBars names={classifier.classNames} probabilities={probabilities} />
        ) : (
          <p class="note">No classifier knows the images of this run.</p>
        )}
      </section>
      <section>
        <h3>Discriminator: real or generated?</h3>
        <Distribution context={logits} logit={logit} isProbability={content.isLogOdds} />
        <p class="note">
          {!content.isLogOdds && "The loss of this run gives D a number without a unit, not a probability. "}
          {content.numClasses > 0 && "D is told the class with the larger part in z."}
        </p>
      </section>
    </div>
  );
}
