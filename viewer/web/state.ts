// What the page shows, in one place; whoever draws it is told when it changes.

import type { Agreement } from "./agreement";
import type { Coming, Detection, Nodule, ScanFacts, ScanRow, Session } from "./api";
import { add, type PlaneName, type Triple } from "./geometry";
import type { Layer } from "./labels";
import type { Volume } from "./nifti";
import type { Slab } from "./slab";

export type Side = "ct" | "beside";

export type Tool = "crosshair" | "slices" | "window" | "measure" | "circle" | "edit";

/** A line, or a circle around `from` through `to`. */
export interface Measure { plane: PlaneName; from: Triple; to: Triple; circle: boolean }

export interface State {
  session: Session | null;
  row: ScanRow | null;
  facts: ScanFacts | null;
  ct: Volume | null;
  /** The scan while its slices come: planes show those that are here, all else waits for `ct`. */
  coming: Coming | null;
  /** Shown beside the scan: the input of the run, or another scan. */
  beside: Volume | null;
  lungs: Volume | null;
  noduleMask: Volume | null;
  layers: Layer[];
  /** World mm, LPS. */
  crosshair: Triple;
  pointer: Triple | null;
  nodule: Nodule | null;
  detection: Detection | null;
  center: number;
  width: number;
  masks: boolean;
  opacity: number;
  rings: boolean;
  lines: boolean;
  smooth: boolean;
  tool: Tool;
  plane: PlaneName;
  /** Which volume the keys go through, where two are beside each other. */
  side: Side;
  /** One pane over all others. */
  alone: string | null;
  compare: boolean;
  /** Whether the scan and what is beside it move together. */
  coupled: boolean;
  /** From a place of the scan to that shown beside it, mm. */
  offset: Triple;
  /** White is low. */
  invert: boolean;
  measures: Measure[];
  /** Masks as outlines, not filled. */
  outline: boolean;
  slab: Slab;
  slabMm: number;
  /** Two masks that are compared; other masks are not drawn. */
  agreement: Agreement | null;
  /** Detections that are less probable are hidden. */
  least: number;
  /** Counts the changes to the voxels of masks. */
  edits: number;
}

export const state: State = {
  session: null, row: null, facts: null, ct: null, coming: null, beside: null, lungs: null, noduleMask: null, layers: [],
  crosshair: [0, 0, 0], pointer: null, nodule: null, detection: null, center: -600, width: 1500,
  masks: true, opacity: 0.35, rings: true, lines: true, smooth: true, tool: "crosshair", plane: "axial", side: "ct", alone: null,
  compare: false, coupled: true, offset: [0, 0, 0], invert: false, measures: [], outline: false, slab: "off", slabMm: 20, agreement: null, least: 0, edits: 0,
};

export type Key = keyof State;
const watchers: { keys: Set<Key>; tell: (changed: Key[]) => void }[] = [];
let waiting = new Set<Key>();

/** Call `tell` once a frame in which any of these changed, with those that did. */
export function watch(keys: Key[], tell: (changed: Key[]) => void): void {
  watchers.push({ keys: new Set(keys), tell });
}

export function change(part: Partial<State>): void {
  const keys = (Object.keys(part) as Key[]).filter((key) => state[key] !== part[key]);
  Object.assign(state, part);
  if (keys.length === 0) return;
  if (waiting.size === 0) requestAnimationFrame(settle);
  keys.forEach((key) => waiting.add(key));
}

function settle(): void {
  const changed = waiting;
  waiting = new Set();
  for (const { keys, tell } of watchers) {
    const mine = [...changed].filter((key) => keys.has(key));
    if (mine.length) tell(mine);
  }
}

/** Where a place of the scan is in the volume beside it. */
export function shifted(world: Triple): Triple {
  return add(world, state.offset);
}

export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page lacks #${id}`);
  return found as T;
}

/** Make an element with text; text from the server goes in this way alone. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, text = "", cls = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (cls) made.className = cls;
  return made;
}
