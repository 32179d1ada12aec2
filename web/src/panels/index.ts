/** All panels, in the order of the navigation. */
import type { Panel } from "../page/panel";
import type { Shell } from "../page/shell";
import { lstmPanel } from "./lstm/panel";
import { trainingPanel } from "./training/panel";

/** `source` is a copy of the page as it was read. */
export const panels = (_source: HTMLElement, _shell: () => Shell): Panel[] => [trainingPanel, lstmPanel];
