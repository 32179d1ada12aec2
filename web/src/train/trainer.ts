/** The page's side of a worker that trains. */
import script from "worker:train";
import { Caller, startWorker } from "./caller";

export class Trainer extends Caller {
  constructor() {
    const blob = new Blob([script], { type: "text/javascript" });
    super(startWorker(blob));
    void this.call("script", blob);
  }

  /** Ends the worker; calls that it has not answered never end. */
  stop() {
    this.worker.terminate();
  }
}
