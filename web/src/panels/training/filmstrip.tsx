/** One latent through all moments of the training. */
import { sigmoid } from "../../kit/math";
import type { Snapshots } from "../../gan/snapshots";
import { PictureButton } from "../../kit/image";
import { Roving } from "../../kit/roving";

interface FilmstripProps {
  snapshots: Snapshots;
  image: number;
  moment: number;
  isProbability: boolean;
  onSelect: (moment: number) => void;
}

export const Filmstrip = ({ snapshots, image, moment, isProbability, onSelect }: FilmstripProps) => (
  <section>
    <h3>Image {image + 1} through training</h3>
    <Roving class="filmstrip" label="Moments of this image" stop={moment}>
      {snapshots.moments.map(({ label, fakeLogits }, k) => (
        <PictureButton
          key={k}
          pixels={snapshots.image(k, image)}
          shape={snapshots.shape}
          label={label}
          pressed={k === moment}
          onClick={() => onSelect(k)}
        >
          <span class="frame-label">{label}</span>
          <span class="frame-label muted">
            {` D ${(isProbability ? sigmoid(fakeLogits[image]) : fakeLogits[image]).toFixed(2)}`}
          </span>
        </PictureButton>
      ))}
    </Roving>
  </section>
);
