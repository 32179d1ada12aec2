/** Two generators on the same latents: two moments of a run, or the networks of two runs. */
import { useEffect, useState } from "preact/hooks";
import { loadGan, loadSnapshots } from "../../gan/gan";
import { bound, Select } from "../../kit/controls";
import { Image } from "../../kit/image";
import type { GanContent, RecordedGan, Manifest } from "../../kit/manifest";
import { hasNetworks, isGan, type Run } from "../../kit/runs";
import { row } from "../../kit/tensors";
import type { FactsState } from "./curves";

interface Source {
  id: string; // In the fragment: the id of a run, and a moment's index after a dot
  name: string;
  content: RecordedGan; // Whose pictures these are
  load: () => Promise<Float32Array[]>;
}

/** Returns the generators that can show the latents of a run's grid. */
function sourcesOf(content: RecordedGan, { gans }: Manifest): Source[] {
  const moments = (content.snapshots?.moments ?? []).map(({ label }, moment) => ({
    ...{ id: `${content.id}.${moment}`, name: `${content.name}, ${label}` },
    ...{ content, load: () => fromMoment(content, moment) },
  }));
  if (!hasNetworks(content)) return moments;
  const networks = gans
    .filter(({ noiseSize, numClasses }) => noiseSize === content.noiseSize && numClasses === content.numClasses)
    .map((gan) => ({ id: gan.id, name: `${gan.name}, trained`, content: gan, load: () => fromNetwork(gan, content) }));
  return [...moments, ...networks];
}

/** Returns what there is to compare, and what is chosen of it; null if there is nothing. */
export function chosenPair(run: Run, { left, right }: FactsState, manifest: Manifest) {
  const sources = isGan(run) ? sourcesOf(run, manifest) : [];
  if (!isGan(run) || sources.length < 2) return null;
  const early = sources[Math.floor((run.snapshots?.moments.length ?? 0) / 3)];
  const own = sources.find(({ id }) => id === run.id) ?? sources[sources.length - 1];
  const other = sources.find(({ content }) => content !== run);
  const find = (wanted: string) => sources.find(({ id }) => id === wanted);
  return { sources, run, left: find(left.value) ?? (other ? own : early), right: find(right.value) ?? other ?? own };
}

const each = (count: number, image: (n: number) => Float32Array) => Array.from({ length: count }, (_, n) => image(n));

async function fromMoment(content: RecordedGan, moment: number) {
  const snapshots = await loadSnapshots(content);
  return each(snapshots.count, (n) => snapshots.image(moment, n));
}

async function fromNetwork(content: GanContent, latentsOf: GanContent) {
  const [gan, { latents }] = await Promise.all([loadGan(content), loadGan(latentsOf)]);
  const images = gan.generate(latents.grid);
  return each(images.length / gan.pixels, (n) => row(images, n, gan.pixels));
}

function PairGrid({ source, latentsOf }: { source: Source; latentsOf: RecordedGan }) {
  const [images, setImages] = useState<Float32Array[]>([]);
  const [shown, setShown] = useState(source);
  useEffect(() => {
    let isWanted = true;
    void source.load().then((next) => {
      if (!isWanted) return; // another was chosen meanwhile
      setImages(next);
      setShown(source);
    });
    return () => void (isWanted = false);
  }, [source.id, latentsOf]);
  return (
    <div class="pictures pair-grid">
      {images.map((pixels, n) => (
        <Image key={n} pixels={pixels} shape={shown.content.imageShape} label={`${shown.name}: image ${n + 1}`} />
      ))}
    </div>
  );
}

export function Pair({ run, state, manifest }: { run: Run; state: FactsState; manifest: Manifest }) {
  const pair = chosenPair(run, state, manifest);
  if (!pair) return null;
  const side = (label: string, name: "left" | "right") => (
    <div>
      <Select
        label={label}
        of={bound(pair[name].id, (id) => (state[name].value = id))}
        choices={pair.sources.map(({ id, name }) => [id, name])}
      />
      <PairGrid source={pair[name]} latentsOf={pair.run} />
    </div>
  );
  return (
    <section>
      <h3>Two generators on the same latents</h3>
      <p class="note">Images at the same place come from the same latent.</p>
      <div class="columns">
        {side("Left", "left")}
        {side("Right", "right")}
      </div>
    </section>
  );
}
