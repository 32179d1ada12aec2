/** The page's side of a worker that trains, see protocol.ts. */
import script from "worker:train";
import type { Method, Methods, Request, Response } from "./protocol";

export class Trainer {
  #worker: Worker;
  #waiting = new Map<number, { resolve: (result: any) => void; reject: (error: Error) => void }>();
  #count = 0;

  constructor() {
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    this.#worker = new Worker(address);
    URL.revokeObjectURL(address);
    this.#worker.onmessage = ({ data: { id, result, error } }: MessageEvent<Response>) => {
      const { resolve, reject } = this.#waiting.get(id)!;
      this.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    };
    this.#worker.onerror = ({ message }) => this.#fail(new Error(message || "the worker that trains cannot start"));
  }

  /** Calls a method; rejects with a sentence for people. */
  call<M extends Method>(
    method: M,
    ...[argument]: undefined extends Methods[M][0] ? [] : [Methods[M][0]]
  ): Promise<Methods[M][1]> {
    const request: Request = { id: ++this.#count, method, argument };
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject });
      this.#worker.postMessage(request);
    });
  }

  /** Ends the worker; calls that it has not answered never end. */
  stop() {
    this.#worker.terminate();
  }

  #fail(error: Error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
