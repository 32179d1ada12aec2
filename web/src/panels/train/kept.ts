/** The last run in this browser, so that a reload does not lose it: the file that "Save run" makes, with where it stands. */

export interface Kept {
  name: string; // Where it stands, in words
  content: Blob;
}

const [DATABASE, STORE, KEY] = ["reviver", "runs", "last"];

function open(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return resultOf(request);
}

const resultOf = <T>(request: IDBRequest<T>) =>
  new Promise<T>((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** Calls the store of the browser; undefined where there is none, as in a frame without an origin. */
async function call<T>(
  mode: IDBTransactionMode,
  what: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T | undefined> {
  try {
    const database = await open();
    return await resultOf(what(database.transaction(STORE, mode).objectStore(STORE))).finally(() => database.close());
  } catch {
    return undefined;
  }
}

export const readKept = () => call<Kept | undefined>("readonly", (store) => store.get(KEY));
export const writeKept = (run: Kept) => call("readwrite", (store) => store.put(run, KEY));
export const removeKept = () => call("readwrite", (store) => store.delete(KEY));
