// What the server says, and how it is asked. All addresses are relative to the page's own.

import type { Triple } from "./geometry";
import { readNifti, type Volume } from "./nifti";

export interface Review { verdict: "accept" | "reject" | ""; comment: string; when?: string; current?: boolean | null }

export interface ScanRow {
  /** `name` is the scan id, `title` what people call it, `risk_words` how urgently a person should look. */
  id: string; name: string; title: string; series: string; dataset: string; risk_words: string; status: string; reason: string; flags: string[]; risk: number | null; nodules: number | null;
  right_ml: number | null; left_ml: number | null; shape: Triple | null; spacing: Triple | null;
  label_maps: string[]; viewable: boolean; thumbnail: boolean; review: Review | null;
}

export interface Session {
  kind: "scan" | "run"; name: string; version: string; recipe: string | null; reviews: boolean; scans: ScanRow[];
}

export interface Nodule {
  label: number; world: Triple; voxel: Triple; diameter_mm: number; inside_lungs: number | null; mean_hu: number | null;
  voxels: number | null; readers: Record<string, unknown>[]; scores: Record<string, unknown>;
}

/** A mark of a detector; `nodule` is the label of the nodule that it hits. */
export interface Detection { world: Triple; voxel: Triple; diameter_mm: number | null; probability: number; nodule: number | null }

/** Of a mask less than `bytes` may come: the box around its labels. `first` is the slice to begin with. */
export interface Part { url: string; bytes: number; shape: Triple; unit?: string; first?: number }

/** `at` is a place in the label, LPS mm. */
export interface Label { name: string; value: number; ml: number; color: string; at: Triple | null; surface: string | null }

/** `volume` is the box around its labels, null if there are none. */
export interface LabelMap { name: string; volume: Part | null; labels: Label[] }

/** A mask that can be corrected; `name` is that of its volume, `saved` its last correction. */
export interface EditableMask {
  name: string; title: string; sha256: string; labels: { value: number; name: string }[];
  saved: { who: string; when: string; current: boolean } | null;
}

/** `refused` says why no mask can be corrected here; `key` names this scan of this run in the browser's memory. */
export interface Editing { refused: string; who: string; key: string; masks: EditableMask[] }

export interface ScanFacts {
  id: string; name: string; status: string; notes: { code: string; text: string }[];
  labels: Record<string, unknown>; figures: Record<string, unknown>;
  volumes: { ct: Part; beside: Part | null; lungs: Part | null; nodules: Part | null };
  surfaces: Record<string, string | null>;
  /** Small volumes for the 3-D view. */
  tissues: { bones: string | null; vessels: string | null };
  label_maps: LabelMap[];
  /** Null where no table of marks was given; the most probable first. */
  detections: Detection[] | null;
  nodules: Nodule[]; recipe: string | null;
  /** Where the page opens: at the largest nodule, whose label it has, or in the middle of the lungs. */
  start: { world: Triple; nodule: number | null };
  /** Header fields that may be shown: names and values. */
  header: [string, string][];
  /** What this scan and the one beside it are called. */
  beside: [string, string] | null;
  /** Why nothing vouches for what is shown; empty where the ledger does. */
  doubt: string;
  /** Which output is shown. */
  scan_sha256: string;
  editing: Editing;
}

export async function getJson<T>(url: string, signal?: AbortSignal): Promise<T> {
  const answer = await ask(url, { signal });
  return (await answer.json()) as T;
}

export async function getBytes(url: string, signal?: AbortSignal): Promise<ArrayBuffer> {
  return (await ask(url, { signal })).arrayBuffer();
}

/** The bytes before the voxels. */
const HEADER = 352;

/** A volume of which slices, along its first axis, are still to come. */
export interface Coming { volume: Volume; isHere: (slice: number) => boolean }

/** A volume, read piece by piece so that its progress can be told (from 0 to 1). Its slices come from `part.first` on. */
export async function getVolume(part: Part, signal: AbortSignal, progress: (share: number, coming: Coming) => void): Promise<Volume> {
  const { first = 0, shape: [count] } = part;
  const answer = await ask(first ? `${part.url}?first=${first}` : part.url, { signal });
  const reader = answer.body!.getReader();
  const bytes = Number(answer.headers.get("content-length"));
  const whole = room(bytes);
  const size = bytes - HEADER;
  const slice = size / count;
  const put = (value: Uint8Array, at: number) => {
    const head = Math.max(0, HEADER - at);
    whole.set(value.subarray(0, head), Math.min(at, HEADER));
    const to = (Math.max(at, HEADER) - HEADER + first * slice) % size;
    whole.set(value.subarray(head, head + size - to), HEADER + to);
    whole.set(value.subarray(head + size - to), HEADER); // after the last slice comes the first one
  };
  let coming: Coming | null = null;
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (length + value.length > bytes) throw new Error("more came than the server had said");
    put(value, length);
    length += value.length;
    if (length < HEADER) continue;
    coming ??= { volume: readNifti(whole.buffer), isHere: (index) => (index - first + count) % count < Math.floor((length - HEADER) / slice) };
    progress(length / bytes, coming);
  }
  if (!coming || length < bytes) throw new Error("the volume came cut short");
  return coming.volume;
}

function room(bytes: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch {
    throw new Error(`this browser has no ${Math.round(bytes / 1e6)} MB in one piece for the volume; show it with larger voxels (hilum run, [resample])`);
  }
}

export async function saveReview(id: string, review: Review, seen: string): Promise<Review> {
  const body = JSON.stringify({ verdict: review.verdict, comment: review.comment, scan_sha256: seen });
  const answer = await ask(`api/scans/${encodeURIComponent(id)}/review`, {
    method: "POST", body, headers: { "Content-Type": "application/json" },
  });
  return (await answer.json()) as Review;
}

/** Save a corrected mask, as `pack` packs it. */
export async function saveCorrection(id: string, mask: EditableMask, seen: string, body: Uint32Array<ArrayBuffer>): Promise<EditableMask["saved"]> {
  const answer = await ask(`api/scans/${encodeURIComponent(id)}/corrections/${mask.name}?original=${mask.sha256}&scan=${seen}`, {
    method: "POST", body, headers: { "Content-Type": "application/octet-stream" },
  });
  return (await answer.json()) as EditableMask["saved"];
}

/** The last correction of a mask. */
export async function getCorrection(id: string, mask: EditableMask): Promise<Volume> {
  return readNifti(await getBytes(`api/scans/${encodeURIComponent(id)}/corrections/${mask.name}`));
}

/** Ask the server; what went wrong becomes an error of one line for the user. */
async function ask(url: string, options: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(url, { ...options, cache: "no-store", redirect: "error" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Error("The server does not answer. Was `hilum view` ended? Start it again and open the address that it prints.");
  }
  if (answer.ok) return answer;
  const text = await answer.text().catch(() => "");
  throw new Error(told(text) || `the server answered ${answer.status}`);
}

/** The server's own words: JSON where it refuses something, a plain line where it does not know this browser. */
function told(text: string): string {
  try {
    return (JSON.parse(text) as { error?: string }).error ?? "";
  } catch {
    return text.trim();
  }
}
