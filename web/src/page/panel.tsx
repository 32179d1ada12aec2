/** What a panel is, and panels about one run at a time, such as panels/latent/panel.tsx. */
import { signal } from "@preact/signals";
import type { VNode } from "preact";
import { announce } from "../kit/announce";
import type { View } from "../kit/codec";
import { bound, Select } from "../kit/controls";
import type { Manifest } from "../kit/manifest";
import { withoutNetworks, type Run } from "../kit/runs";

/** A part of the runs that a lesson can leave out. Latents go with the generator. */
export type Part = "generator" | "discriminator" | "classifier" | "training" | "test" | "lstm" | "images";

export interface Opened {
  view: () => View; // Reads signals: the page follows them, and keeps the view in the address
  body: VNode;
  controls?: VNode | false; // Beside the choice of the run
  parts?: Record<string, VNode>; // What a step of a lesson may show of it, by name
}

export interface Guide {
  about?: string; // What the panel shows, for somebody who sees it for the first time
  question: string; // The one question that the panel answers
  observe: string; // One thing to observe
  caveat: string; // One limit of what it shows
}

export interface PanelInfo {
  id: string; // In the fragment and in lessons
  title: string;
  guide?: Guide;
  group?: "lstm" | "gan"; // The network that it is about, in the navigation
  needs?: Part[]; // Parts of the runs that a lesson with this panel contains; all if missing
  tutorial?: "gan" | "lstm"; // Whose paragraph `panel-ID` explains what the panel shows
}

export interface Panel extends PanelInfo {
  /** Why these runs do not have it; null if they do. */
  unavailable: (manifest: Manifest) => string | null;
  /** Opens the panel at a view, which is untrusted. */
  open: (manifest: Manifest, view: URLSearchParams) => Promise<Opened>;
}

interface RunPanel<R extends Run, L> extends PanelInfo {
  runs: (manifest: Manifest) => R[];
  none: string; // Why there is none
  networks?: "gan" | "lstm"; // The kind of networks that it runs, if it does; see `networkPanel`
  load: (content: R) => Promise<L>;
  open: (loaded: L, content: R, view: URLSearchParams, manifest: Manifest) => Opened | Promise<Opened>;
  kept?: string[]; // What another run keeps of the view of the one before; else its view begins anew
}

export const networkPanel = <K extends "gan" | "lstm">(kind: K) => ({
  ...{ tutorial: kind, group: kind, networks: kind, none: `There is no ${kind.toUpperCase()} run in this file.` },
  runs: (manifest: Manifest) => manifest[`${kind}s` as const],
});

/** Makes a panel with a choice of the run, where there are several. */
export function runPanel<R extends Run, L>({
  runs: runsOf,
  none,
  networks,
  load,
  open,
  kept = [],
  ...info
}: RunPanel<R, L>): Panel {
  const others = (manifest: Manifest) => networks && withoutNetworks(manifest, networks);
  return {
    ...info,
    unavailable: (manifest) => (runsOf(manifest).length ? null : (others(manifest) ?? none)),
    async open(manifest, view) {
      const runs = runsOf(manifest);
      const first = runs.find(({ id }) => id === view.get("run")) ?? runs[0];
      let count = 0;
      const openRun = async (run: R, start: URLSearchParams) => {
        const opened = await open(await load(run), run, start, manifest);
        return { run, number: ++count, ...opened };
      };
      const wanted = signal(first.id);
      const current = signal(await openRun(first, view));
      const change = async (id: string) => {
        wanted.value = id;
        const found = runs.find((run) => run.id === id)!;
        const view = Object.entries(current.peek().view()).filter(([key]) => kept.includes(key));
        const next = await openRun(found, new URLSearchParams(view));
        if (wanted.peek() !== id) return; // another choice while this run loaded
        current.value = next;
        announce(`Run ${next.run.name}`);
      };
      const Body = () => (
        <div class="stack run-panel">
          {(runs.length > 1 || current.value.controls) && (
            <div class="row controls">
              {runs.length > 1 && (
                <Select label="Run" of={bound(wanted.value, change)} choices={runs.map(({ id, name }) => [id, name])} />
              )}
              {current.value.controls}
            </div>
          )}
          {others(manifest) && <p class="note">{others(manifest)}</p>}
          <div key={current.value.number} class="stack run-body">
            {current.value.body}
          </div>
        </div>
      );
      return { view: () => ({ run: current.value.run.id, ...current.value.view() }), body: <Body /> };
    },
  };
}
