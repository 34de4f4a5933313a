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

export interface Part { url: string; bytes: number; shape: Triple; unit?: string }

/** `at` is a place in the label, LPS mm. */
export interface Label { name: string; value: number; ml: number; color: string; at: Triple | null; surface: string | null }

/** `volume` is the box around its labels, null if there are none. */
export interface LabelMap { name: string; volume: Part | null; labels: Label[] }

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
}

export async function getJson<T>(url: string, signal?: AbortSignal): Promise<T> {
  const answer = await ask(url, { signal });
  return (await answer.json()) as T;
}

export async function getBytes(url: string, signal?: AbortSignal): Promise<ArrayBuffer> {
  return (await ask(url, { signal })).arrayBuffer();
}

/** A volume, read piece by piece so that its progress can be told (from 0 to 1). */
export async function getVolume(part: Part, signal: AbortSignal, progress: (share: number) => void): Promise<Volume> {
  const answer = await ask(part.url, { signal });
  const reader = answer.body!.getReader();
  const whole = new Uint8Array(part.bytes);
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (length + value.length > part.bytes) throw new Error("more came than the server had said");
    whole.set(value, length);
    length += value.length;
    progress(length / part.bytes);
  }
  if (length < part.bytes) throw new Error("the volume came cut short");
  return readNifti(whole.buffer);
}

export async function saveReview(id: string, review: Review, seen: string): Promise<Review> {
  const body = JSON.stringify({ verdict: review.verdict, comment: review.comment, scan_sha256: seen });
  const answer = await ask(`api/scans/${encodeURIComponent(id)}/review`, {
    method: "POST", body, headers: { "Content-Type": "application/json" },
  });
  return (await answer.json()) as Review;
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
