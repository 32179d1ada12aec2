/** The result beside the drawing: difference, error, baseline, nearest training image, and what D and the classifier say. */
import { useMemo } from "preact/hooks";
import { errorsOf } from "../../compute/projection";
import type { Gan } from "../../gan/gan";
import { formatChoice, Latents } from "../../gan/latents";
import { type Frame, frameText, Readings } from "../../gan/frames";
import { encodeView } from "../../gan/view_code";
import { argmax, capital } from "../../kit/format";
import { formatFragment } from "../../kit/codec";
import { Figure, type ImageShape } from "../../kit/image";
import { row } from "../../kit/tensors";

/** Returns the one of `count` images [N, P] that is nearest to another [P]. */
export function nearestOf(image: Float32Array, images: Float32Array) {
  const errors = errorsOf(image, images);
  const error = Math.min(...errors);
  return { count: errors.length, error, image: row(images, errors.indexOf(error), image.length) };
}

const [BLUE, ORANGE] = [
  [0.42, 0.75, 0.93],
  [0.94, 0.64, 0.37],
];

/**
 * Returns the difference of two images as a color image [3, H, W]: blue where a is brighter, orange where b is. Half of the
 * largest difference has the full color already, so that small ones are seen.
 */
export function difference(a: Float32Array, b: Float32Array, [channels, height, width]: ImageShape) {
  const plane = height * width;
  const image = new Float32Array(3 * plane);
  for (let i = 0; i < plane; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += (a[c * plane + i] - b[c * plane + i]) / (2 * channels);
    const color = sum > 0 ? BLUE : ORANGE;
    for (let c = 0; c < 3; c++) image[c * plane + i] = 2 * Math.min(1, 2 * Math.abs(sum)) * color[c] - 1;
  }
  return image;
}

export interface Found {
  name: string; // Of the target, such as "your drawing"
  error: number;
  frame: Frame;
  original: Frame; // The target, and what D and the classifier make of it
  nearest: ReturnType<typeof nearestOf> | null; // Null without training images
  /** A real image, and the one that the search reaches for it: null without any, missing as long as it searches. */
  baseline?: { original: Float32Array; label: string | null; image: Float32Array; error: number } | null;
}

const STEPS_BETWEEN = 7; // Images between the ends of an interpolation
const EQUAL = 1.1; // Errors whose ratio is at most this count as about equal

export const formatError = (error: number) => error.toFixed(3);

/** Says how near G comes to the target, beside how near it comes to a real image, by their errors. */
function compareErrors(error: number, real: number) {
  if (error > EQUAL * real) return `Yours is ${(error / real).toFixed(1)} times as far from what G can make.`;
  return error * EQUAL < real
    ? "G comes nearer to yours than to this real image."
    : "G comes about as near to yours as to this real image.";
}

/** Fragment of the interpolation from a result to an end point of another class. */
function linkOf(gan: Gan, { latent, probabilities }: Frame) {
  const own = probabilities && argmax(probabilities);
  const ends = new Latents(gan).defaults([3, 8]).reverse();
  const end = ends.find(({ kind, classIndex }) => kind !== "class" || classIndex !== own) ?? ends[0];
  const code = encodeView({ path: "linear", steps: STEPS_BETWEEN, start: latent, end: latent });
  return formatFragment("latent", { run: gan.content.id, code, start: "code", end: formatChoice(end) });
}

export const Nearest = ({ shape, found: { frame, error } }: { shape: ImageShape; found: Found }) => (
  <div class="row draw-nearest">
    <Figure pixels={frame.pixels} shape={shape} caption={`Nearest image of G, error ${formatError(error)}`} />
  </div>
);

export function Result({ gan, found }: { gan: Gan; found: Found }) {
  const { frame, original, nearest, baseline } = found;
  const { content } = gan;
  const shape = content.imageShape;
  const changed = useMemo(() => difference(frame.pixels, original.pixels, shape), [frame]);
  const link = useMemo(() => linkOf(gan, frame), [frame]);
  const name = capital(found.name);
  const opinions = [
    [name, frameText(content, original)],
    ["G’s image", frameText(content, frame)],
  ];
  const figure = (caption: string, pixels: Float32Array) => <Figure {...{ caption, pixels, shape }} />;
  const label = baseline?.label == null ? "" : `, label ${baseline.label}`;
  return (
    <section class="draw-result" aria-label="Result">
      <div class="card result-main">
        <h3>The result</h3>
        <div class="columns">
          <div class="row" style={{ "--width": "11rem" }}>
            {figure(name, original.pixels)}
            {figure("Nearest image of G", frame.pixels)}
            <Figure
              pixels={changed}
              shape={[3, shape[1], shape[2]]}
              label="Difference"
              caption="Difference: blue where G’s image is brighter, orange where it is darker"
            />
          </div>
          <div>
            <p class="result-summary">
              Error <strong>{formatError(found.error)}</strong>: the root-mean-square difference of the pixels, from 0
              (equal) to 2 (black against white).
            </p>
            <dl>
              {opinions.map(
                ([image, text]) =>
                  text && [
                    <dt class="note">{image}</dt>,
                    <dd>
                      <strong>{text}</strong>
                    </dd>,
                  ],
              )}
            </dl>
            <a class="button" href={`#${link}`}>
              Use as an end of an interpolation
            </a>
          </div>
        </div>
      </div>
      <div class="columns">
        <div class="card">
          <h3>A real image as baseline</h3>
          {baseline === null && <p>This file has no test images to compare with.</p>}
          {baseline === undefined && <p class="muted">Searching …</p>}
          {baseline && (
            <>
              <div class="row">
                {figure(`Real test image${label}`, baseline.original)}
                {figure("Nearest image of G", baseline.image)}
              </div>
              <p>
                For it, the search reaches an error of <strong>{formatError(baseline.error)}</strong>
                {`. ${compareErrors(found.error, baseline.error)}`}
              </p>
            </>
          )}
        </div>
        <div class="card">
          <h3>Has G copied a training image?</h3>
          {!nearest && <p>This file has no training images to compare with.</p>}
          {nearest && (
            <>
              <div class="row">
                {figure("G’s image", frame.pixels)}
                {figure(`Nearest of ${nearest.count.toLocaleString("en")} training images`, nearest.image)}
              </div>
              <p>
                Their difference is <strong>{formatError(nearest.error)}</strong>. A copy has a difference near 0.
              </p>
            </>
          )}
        </div>
      </div>
      <div class="card">
        <Readings content={content} frame={frame} layout="columns" />
      </div>
    </section>
  );
}
