/** The page's side of a worker that trains. */
import script from "worker:train";
import { Caller } from "./caller";

export class Trainer extends Caller {
  readonly #address: string; // From which the worker starts a second one, see partner.ts

  constructor() {
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    super(new Worker(address));
    this.#address = address;
  }

  /** Ends the worker; calls that it has not answered never end. */
  stop() {
    this.worker.terminate();
    URL.revokeObjectURL(this.#address);
  }
}
