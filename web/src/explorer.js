/**
 * The explorer: the manifest and the runs of the page, loaded when they are first needed.
 */
import { Gan } from "./models/gan.js";
import { Lstm } from "./models/lstm.js";

/** @typedef {import("./types.js").Manifest} Manifest */
/** @typedef {import("./compute/kernel.js").Kernel} Kernel */

export class Explorer {
  /** @type {Map<string, Promise<Gan>>} */
  #gans = new Map();
  /** @type {Map<string, Promise<Lstm>>} */
  #lstms = new Map();

  /**
   * @param {Manifest} manifest
   * @param {Kernel} kernel
   * @param {{viewChanged: () => void, announce: (text: string) => void}} page
   */
  constructor(manifest, kernel, page) {
    this.manifest = manifest;
    this.kernel = kernel;
    /** Panels call it after a change that the URL fragment keeps. */
    this.viewChanged = page.viewChanged;
    /** Says a result to those who use a screen reader. */
    this.announce = page.announce;
  }

  /**
   * Returns a GAN run.
   * @param {string} id of one in the manifest
   * @returns {Promise<Gan>}
   */
  gan(id) {
    const content = this.manifest.gans.find((gan) => gan.id === id);
    if (!content) throw new Error(`the file has no GAN ${id}`);
    const loading = this.#gans.get(id) ?? Gan.load(content, this.kernel);
    this.#gans.set(id, loading);
    return loading;
  }

  /**
   * Returns an LSTM run.
   * @param {string} id of one in the manifest
   * @returns {Promise<Lstm>}
   */
  lstm(id) {
    const content = this.manifest.lstms.find((lstm) => lstm.id === id);
    if (!content) throw new Error(`the file has no LSTM ${id}`);
    const loading = this.#lstms.get(id) ?? Lstm.load(content);
    this.#lstms.set(id, loading);
    return loading;
  }
}
