/** What the classifier and D make of one image. */
import { ClassBars } from "../charts/bars";
import { Distribution } from "../charts/distribution";
import type { GanContent } from "../kit/manifest";
import { discriminatorNotes, type Frame } from "./frames";

export function Readings({ content, frame }: { content: GanContent; frame: Frame }) {
  const { discriminator, classifier, logits } = content;
  const { probabilities, logit } = frame;
  return (
    <div class="stack readings">
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
        {discriminator && <Distribution context={logits} logit={logit} isProbability={content.isLogOdds} />}
        {discriminatorNotes(content).map((note) => (
          <p key={note} class="note">
            {note}
          </p>
        ))}
      </section>
    </div>
  );
}
