/**
 * All panels, in the order of the navigation.
 */
import { discriminatorPanel } from "./discriminator.js";
import { drawPanel } from "./draw.js";
import { factsPanel } from "./facts.js";
import { latentPanel } from "./latent.js";
import { lstmPanel } from "./lstm.js";
import { mapPanel } from "./map.js";
import { trainingPanel } from "./training.js";

/** @type {import("./panel.js").Panel[]} */
export const PANELS = [latentPanel, mapPanel, trainingPanel, drawPanel, discriminatorPanel, lstmPanel, factsPanel];
