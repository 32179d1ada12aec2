/** The side of a worker that calls its methods, see protocol.ts. */
import type { Method, Methods, Request, Response } from "./protocol";

export class Caller {
  #waiting = new Map<number, { resolve: (result: any) => void; reject: (error: Error) => void }>();
  #count = 0;

  constructor(readonly worker: Worker) {
    worker.onmessage = ({ data: { id, result, error } }: MessageEvent<Response>) => {
      const { resolve, reject } = this.#waiting.get(id)!;
      this.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    };
    worker.onerror = (event) => {
      event.preventDefault(); // whoever waits is told
      this.#fail(new Error(event.message || "the worker that trains cannot start"));
    };
  }

  /** Calls a method, which gets the buffers of `sent` without a copy; rejects with a sentence for people. */
  call<M extends Method>(
    method: M,
    ...[argument, sent]: undefined extends Methods[M][0] ? [] : [Methods[M][0], unknown?]
  ): Promise<Methods[M][1]> {
    const request: Request = { id: ++this.#count, method, argument };
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject });
      this.worker.postMessage(request, [...buffersOf(sent)]);
    });
  }

  #fail(error: Error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

export function startWorker(script: Blob): Worker {
  const address = URL.createObjectURL(script);
  const worker = new Worker(address);
  URL.revokeObjectURL(address);
  return worker;
}

/** Buffers of all numbers in a value. */
export function buffersOf(value: unknown, found = new Set<Transferable>()): Set<Transferable> {
  if (ArrayBuffer.isView(value)) found.add(value.buffer as ArrayBuffer);
  else if (value && typeof value === "object") for (const part of Object.values(value)) buffersOf(part, found);
  return found;
}
