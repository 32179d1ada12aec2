/** The worker that trains: answers the calls of `Trainer`, one after the other. */
import { LstmRun } from "./lstm_run";
import type { Method, Methods, Progress, Request, Response, Run, Start, Status } from "./protocol";

let current: LstmRun | null = null;

function run(): LstmRun {
  if (!current) throw new Error("there is no run; start one first");
  return current;
}

const status = (): Status => {
  const { settings, step, epoch, updatesPerEpoch, isFinished } = run();
  return { kind: "lstm", settings, step, epoch, updatesPerEpoch, isFinished };
};

function train({ updates, trace }: Run): Progress {
  const lstm = run();
  const first = lstm.epochs.length;
  const start = performance.now();
  const found = [];
  while (found.length < updates && !lstm.isFinished) {
    found.push(lstm.update());
    if (!Number.isFinite(found.at(-1)!.loss))
      throw new Error(
        `the loss is not finite at update ${lstm.step}; rewind, or start again with a lower learning rate`,
      );
  }
  const milliseconds = performance.now() - start;
  const traced = trace?.length ? { trace: lstm.trace(trace) } : {};
  const results = { updates: found, epochs: lstm.epochs.slice(first), ...traced };
  return { status: status(), updates: found.length, milliseconds, lstm: results };
}

const methods: { [M in Method]: (argument: Methods[M][0]) => Methods[M][1] | Promise<Methods[M][1]> } = {
  async start({ settings }: Start) {
    current = await LstmRun.create(settings);
    return status();
  },
  run: train,
  async change(changes) {
    current = await run().change(changes);
    return status();
  },
  save: () => run().save(),
  async restore(saved) {
    current = await LstmRun.restore(saved);
    return status();
  },
};

/** Buffers of all numbers in a value, which go to the page without a copy. */
function buffers(value: unknown, found = new Set<Transferable>()): Set<Transferable> {
  if (ArrayBuffer.isView(value)) found.add(value.buffer as ArrayBuffer);
  else if (value && typeof value === "object") for (const part of Object.values(value)) buffers(part, found);
  return found;
}

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<Request>) => void) | null;
  postMessage: (message: Response, transfer: Transferable[]) => void;
};
let last: Promise<void> = Promise.resolve();

async function answer({ id, method, argument }: Request) {
  try {
    const result = await methods[method](argument as never);
    scope.postMessage({ id, result }, [...buffers(result)]);
  } catch (error) {
    scope.postMessage({ id, error: (error as Error).message }, []);
  }
}

scope.onmessage = ({ data }) => (last = last.then(() => answer(data)));
