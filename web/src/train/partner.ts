/** What trains D and the last layer of G: on two cores a second worker, which computes while G does, with the same bits. */
import { Caller, startWorker } from "./caller";
import { Discriminator, type DiscriminatorStart } from "./discriminator";

type Part = Pick<Discriminator, "real" | "paint" | "fake" | "learnLast" | "learn" | "generated" | "save">;
type Given<M extends keyof Part> = Parameters<Part[M]>;
/** Calls a method, after those before it. The buffers of an argument go to it, and come back with the result. */
export type Partner = <M extends keyof Part>(method: M, ...given: Given<M>) => Promise<ReturnType<Part[M]>>;

let script: Blob | null = null; // Of this worker
let second: Caller | null = null; // For the run that began last

/** Takes the script of this worker: from the address of its own a page that is a file may start no other. */
export function takeScript(blob: Blob) {
  script = blob;
}

export async function openPartner(start: DiscriminatorStart): Promise<Partner> {
  if (script && navigator.hardwareConcurrency > 1)
    try {
      const caller = (second ??= new Caller(startWorker(script)));
      await caller.call("partner", start);
      return (method, ...[argument]) => caller.call("part", { method, argument }, argument);
    } catch {
      second = null; // a browser without workers of workers
    }
  const part = await Discriminator.create(start);
  return async (method, ...[argument]) => (part as any)[method](argument);
}
