// What the page shows, in one place; whoever draws it is told when it changes.

import type { Detection, Nodule, ScanFacts, ScanRow, Session } from "./api";
import type { PlaneName, Triple } from "./geometry";
import type { Layer } from "./labels";
import type { Volume } from "./nifti";

export type Tool = "crosshair" | "window" | "measure" | "edit";

export interface Measure { plane: PlaneName; from: Triple; to: Triple }

export interface State {
  session: Session | null;
  row: ScanRow | null;
  facts: ScanFacts | null;
  ct: Volume | null;
  original: Volume | null;
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
  /** One pane over all others. */
  alone: string | null;
  compare: boolean;
  measures: Measure[];
  /** Counts the changes to the voxels of masks. */
  edits: number;
}

export const state: State = {
  session: null, row: null, facts: null, ct: null, original: null, lungs: null, noduleMask: null, layers: [],
  crosshair: [0, 0, 0], pointer: null, nodule: null, detection: null, center: -600, width: 1500,
  masks: true, opacity: 0.35, rings: true, lines: true, smooth: true, tool: "crosshair", plane: "axial", alone: null,
  compare: false, measures: [], edits: 0,
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
