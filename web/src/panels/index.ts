/** All panels, in the order of the navigation. */
import type { Panel } from "../page/panel";
import type { Shell } from "../page/shell";
import { discriminatorPanel } from "./discriminator/panel";
import { drawPanel } from "./draw/panel";
import { factsPanel } from "./facts/panel";
import { latentPanel } from "./latent/panel";
import { lessonPanel } from "./lesson/panel";
import { lstmPanel } from "./lstm/panel";
import { startPanel } from "./start/panel";
import { trainPanel } from "./train/panel";

/** `source` is a copy of the page as it was read. */
export const panels = (source: HTMLElement, shell: () => Shell): Panel[] => [
  startPanel,
  trainPanel,
  lstmPanel,
  latentPanel,
  drawPanel,
  discriminatorPanel,
  factsPanel,
  lessonPanel(source, shell),
];
