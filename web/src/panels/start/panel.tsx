/** Panel "Start": what one can do here, in two cards. */
import { useEffect } from "preact/hooks";
import { KNOWN_KEYS } from "../../kit/codec";
import type { Manifest } from "../../kit/manifest";
import type { Panel } from "../../page/panel";
import { imagesOf } from "../train/model";
import { Cards } from "./cards";
import { Live } from "./live";

type Links = [fragment: string, text: string][];

interface CardProps {
  title: string;
  text: string;
  train: [fragment: string, text: string];
  lesson: string; // Id of the lesson that leads through it
  /** Panels that show a trained network of this file. */
  links: Links;
}

const Card = ({ title, text, train: [fragment, action], lesson, links }: CardProps) => (
  <section class="card start-card">
    <h3>{title}</h3>
    <p>{text}</p>
    <p>
      <a class="button primary" href={`#${fragment}`}>
        {action}
      </a>
    </p>
    <p>
      <a href={`#${fragment}&lesson=${lesson}`}>Or be led through it, in six steps</a>
    </p>
    {links.length > 0 && (
      <p>
        Or look into a trained one:{" "}
        {links.map(([to, name], k) => [
          k > 0 && ", ",
          <a key={to} href={`#${to}`}>
            {name}
          </a>,
        ])}
      </p>
    )}
  </section>
);

const GAN_LINKS: Links = [
  ["latent", "the space of its images"],
  ["draw", "draw a digit"],
  ["discriminator", "be the discriminator"],
];

function Start({ manifest, at }: { manifest: Manifest; at: string | null }) {
  useEffect(() => void (at && document.getElementById(at)!.scrollIntoView()), []);
  const { gans, lstms } = manifest;
  return (
    <>
      <Live manifest={manifest} />
      <Cards kinds={imagesOf(manifest) ? ["lstm", "gan"] : ["lstm"]} />
      <div class="columns halves">
        <Card
          title="How does a network remember?"
          text="An LSTM reads digits one after the other and must recall the first. Train one, and watch its gates learn what to keep and what to forget."
          train={["train?net=lstm", "Train an LSTM"]}
          lesson="lstm"
          links={lstms.length ? [["lstm", "the LSTM at work"]] : []}
        />
        <Card
          title="How does a network learn to draw?"
          text="In a GAN one network draws digits from random numbers, and another tells them from real ones. Train both against each other until you can read the digits."
          train={["train?net=gan", "Train a GAN"]}
          lesson="gan"
          links={gans.length ? GAN_LINKS : []}
        />
      </div>
    </>
  );
}

KNOWN_KEYS.add("at"); // What to scroll to

export const startPanel: Panel = {
  id: "start",
  needs: [],
  title: "Start",
  unavailable: () => null,
  open: async (manifest, view) => ({
    view: () => ({}),
    body: <Start manifest={manifest} at={view.get("at") === "experiments" ? "experiments" : null} />,
  }),
};
