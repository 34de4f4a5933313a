// Unsaved corrections that the browser keeps, so that they survive a reload and a server that was ended.

/** What was changed in one mask of one scan of one run; `runs` are (first voxel, number of voxels, label). */
export interface Draft { key: string; original: string; when: string; runs: Uint32Array<ArrayBuffer> }

/** Runs of one draft (12 bytes each), and drafts, that are kept; the oldest go first. */
export const MOST_RUNS = 1_500_000;
const MOST_DRAFTS = 20;

let database: Promise<IDBDatabase> | null = null;

function open(): Promise<IDBDatabase> {
  database ??= new Promise((done, failed) => {
    const asked = indexedDB.open("hilum-corrections", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("drafts", { keyPath: "key" });
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => failed(asked.error!);
  });
  database.catch(() => { database = null; });
  return database;
}

function finished<T>(asked: IDBRequest<T>): Promise<T> {
  return new Promise((done, failed) => {
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => failed(asked.error!);
  });
}

async function write(work: (drafts: IDBObjectStore) => void): Promise<void> {
  const change = (await open()).transaction("drafts", "readwrite");
  const done = new Promise<void>((resolve, failed) => {
    change.oncomplete = () => resolve();
    change.onabort = change.onerror = () => failed(change.error!);
  });
  work(change.objectStore("drafts"));
  change.commit(); // does not wait for this page, which may be about to go
  await done;
}

export async function keepDraft(draft: Draft): Promise<void> {
  await write((drafts) => drafts.put(draft));
  const count = await finished((await store()).count());
  if (count <= MOST_DRAFTS) return;
  const all = (await finished((await store()).getAll())) as Draft[];
  const old = all.sort((one, other) => (one.when < other.when ? 1 : -1)).slice(MOST_DRAFTS);
  await write((drafts) => old.forEach(({ key }) => drafts.delete(key)));
}

export async function dropDraft(key: string): Promise<void> {
  await write((drafts) => drafts.delete(key));
}

/** The draft of a mask, if there is one. */
export async function draftOf(key: string): Promise<Draft | null> {
  return ((await finished((await store()).get(key))) as Draft | undefined) ?? null;
}

async function store(): Promise<IDBObjectStore> {
  return (await open()).transaction("drafts").objectStore("drafts");
}
