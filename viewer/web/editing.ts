// Correcting the masks of a scan: which mask and label is edited, and what strokes, undo, saving and drafts do to it.

import { getCorrection, saveCorrection, type EditableMask } from "./api";
import { draftOf, dropDraft, keepDraft, MOST_RUNS, type Draft } from "./editdrafts";
import { become, draw, fill, pack, place, type Ink } from "./editpaint";
import { Steps } from "./editsteps";
import { planeAxes, toVoxel, type PlaneName, type Triple } from "./geometry";
import { wholeLayer } from "./labels";
import { change, state, watch } from "./state";

export type Mode = "brush" | "eraser" | "fill";

/** A mask of this scan that was edited since it was opened. */
interface Edited { key: string; labels: Uint8Array; steps: Steps }

export const RADII: [number, number] = [0.5, 40];

export const edit = {
  mode: "brush" as Mode, radius: 5, ball: false, mask: "", label: 0,
  /** What was last done, and whether it went wrong. */
  told: "", bad: false, saving: false,
  /** Unsaved changes of an earlier visit; nothing is drawn on a mask until they are restored or discarded. */
  drafts: [] as { mask: EditableMask; draft: Draft; fits: boolean }[],
};

let edited = new Map<string, Edited>();
let shownFor: object | null = null;
let tell: () => void = () => undefined;

export function setUpEditing(told: () => void): void {
  tell = told;
  watch(["facts"], start);
}

export function say(text: string, bad = false): void {
  Object.assign(edit, { told: text, bad });
  tell();
}

/** A new scan: the mask and label that come first, and what an earlier visit left. */
function start(): void {
  const { facts } = state;
  if (facts === shownFor) return;
  shownFor = facts;
  edited = new Map();
  const first = facts?.editing.masks[0];
  Object.assign(edit, { mask: first?.name ?? "", label: first?.labels[0]?.value ?? 0, told: "", bad: false, saving: false, drafts: [] });
  tell();
  if (facts && !facts.editing.refused) void findDrafts();
}

export function editedMask(): EditableMask | null {
  return state.facts?.editing.masks.find(({ name }) => name === edit.mask) ?? null;
}

export function chooseMask(name: string): void {
  edit.mask = name;
  edit.label = editedMask()?.labels[0]?.value ?? 0;
  tell();
}

/** The changes of a mask since it was opened; null if there are none. */
export function stepsOf(name: string): Steps | null {
  return edited.get(name)?.steps ?? null;
}

export function unsaved(): EditableMask[] {
  return state.facts?.editing.masks.filter(({ name }) => stepsOf(name)?.unsaved) ?? [];
}

/** The labels of a mask, with a voxel for each of the scan; they are what the planes draw. */
async function open(mask: EditableMask): Promise<Edited> {
  const known = edited.get(mask.name);
  if (known) return known;
  const mine = edited;
  const number = /^label-(\d+)$/.exec(mask.name)?.[1];
  const labels = number ? await wholeLayer(Number(number)) : (mask.name === "lungs" ? state.lungs : state.noduleMask)?.data;
  if (mine !== edited || !(labels instanceof Uint8Array)) throw new Error("the masks are still being loaded");
  const one = { key: keyOf(mask), labels, steps: new Steps(labels) };
  edited.set(mask.name, one);
  return one;
}

/** Get the chosen mask ready before the first stroke, which must not wait. */
export async function prepare(): Promise<void> {
  const mask = editedMask();
  if (!mask || edited.has(mask.name) || state.facts?.editing.refused) return;
  await open(mask).catch(() => undefined); // the first stroke will say why
  tell();
}

export function shownAgain(): void {
  change({ edits: state.edits + 1, masks: true, agreement: null });
  tell();
}

// ---- strokes

let stroke: { one: Edited; mask: EditableMask; list: number[]; last: Triple; through: number } | null = null;

function ink(): Ink {
  return edit.mode === "eraser" ? { label: 0, only: edit.label } : { label: edit.label, only: null };
}

/** Why nothing can be drawn now; empty if it can. */
function hindrance(): string {
  const mask = editedMask();
  if (state.facts?.editing.refused) return state.facts.editing.refused;
  if (state.slab !== "off") return "a slab shows several slices: switch it off to correct one";
  if (!mask || !state.ct) return "this scan has no stored mask to correct";
  if (edit.drafts.some((one) => one.mask.name === mask.name)) return "first restore or discard the unsaved changes of this mask";
  return edited.has(mask.name) ? "" : "the mask is still being loaded";
}

/** Begin a stroke at a place of the world; a fill is done at once. */
export function beginStroke(plane: PlaneName, world: Triple): void {
  const why = hindrance();
  if (why) {
    void prepare();
    return say(why, true);
  }
  const [mask, geometry] = [editedMask()!, state.ct!.geometry];
  const one = edited.get(mask.name)!;
  const axes = planeAxes(geometry, plane);
  const at = toVoxel(geometry, world);
  stroke = { one, mask, list: [], last: at, through: axes.through };
  if (edit.mode !== "fill") return goOn(world);
  const voxel = at.map(Math.round) as Triple;
  const inside = voxel.every((index, axis) => index >= 0 && index < geometry.shape[axis]);
  const closed = inside && fill(one.labels, geometry.shape, voxel, axes, edit.label, stroke.list);
  endStroke();
  if (!closed) say("not filled: the region reaches the edge of the slice; close its outline with the brush", true);
}

export function goOn(world: Triple): void {
  if (!stroke || edit.mode === "fill") return;
  const { geometry } = state.ct!;
  const at = toVoxel(geometry, world);
  draw(stroke.one.labels, geometry.shape, geometry.spacing, stroke.last, at, edit.radius, edit.ball ? null : stroke.through, ink(), stroke.list);
  stroke.last = at;
  change({ edits: state.edits + 1, masks: true, agreement: null });
}

export function endStroke(): void {
  if (!stroke) return;
  const { one, mask, list } = stroke;
  stroke = null;
  if (list.length === 0) return;
  one.steps.add(list);
  say("");
  shownAgain();
  keep(mask, one);
}

/** A second finger: what the first one drew was not meant. */
export function cancelStroke(): void {
  if (!stroke) return;
  const { one, list } = stroke;
  stroke = null;
  const steps = new Steps(one.labels);
  steps.add(list);
  steps.undo();
  shownAgain();
}

export function undo(): void { move("undo"); }
export function redo(): void { move("redo"); }

function move(way: "undo" | "redo"): void {
  const one = edited.get(edit.mask);
  if (stroke || !one?.steps[way]()) return;
  say("");
  shownAgain();
  keep(editedMask()!, one);
}

// ---- drafts and saving

function keyOf(mask: EditableMask): string {
  return `${state.facts!.editing.key}/${mask.name}`;
}

/** Keep what is unsaved in the browser, or forget it if nothing is. */
function keep(mask: EditableMask, { key, steps }: Edited): void {
  const failed = (error: unknown) => say(`unsaved changes cannot be kept in this browser (${(error as Error)?.name ?? error}): save often`, true);
  if (!steps.unsaved) return void dropDraft(key).catch(failed);
  const runs = steps.changes(MOST_RUNS);
  if (!runs) return say("too many unsaved changes to keep in this browser: save them", true);
  keepDraft({ key, original: mask.sha256, when: new Date().toISOString(), runs }).catch(failed);
}

async function findDrafts(): Promise<void> {
  const facts = state.facts!;
  const found = await Promise.all(facts.editing.masks.map(async (mask) => ({ mask, draft: await draftOf(keyOf(mask)).catch(() => null) })));
  if (state.facts !== facts) return;
  edit.drafts = found.flatMap(({ mask, draft }) => (draft ? [{ mask, draft, fits: draft.original === mask.sha256 }] : []));
  tell();
}

/** Do again what an earlier visit left; it can be undone. */
export async function restore(name: string): Promise<void> {
  const kept = edit.drafts.find(({ mask }) => mask.name === name);
  if (!kept?.fits) return;
  try {
    const one = await open(kept.mask);
    const list: number[] = [];
    place(one.labels, kept.draft.runs, list);
    one.steps.add(list);
    edit.drafts = edit.drafts.filter((other) => other !== kept);
    Object.assign(edit, { mask: name, label: editedMask()?.labels.some(({ value }) => value === edit.label) ? edit.label : kept.mask.labels[0].value });
    change({ tool: "edit" });
    say("restored");
    shownAgain();
  } catch (error) {
    say((error as Error).message, true);
  }
}

export async function discard(name: string): Promise<void> {
  const kept = edit.drafts.find(({ mask }) => mask.name === name);
  if (!kept) return;
  await dropDraft(kept.draft.key).catch(() => undefined);
  edit.drafts = edit.drafts.filter((other) => other !== kept);
  tell();
}

export async function save(): Promise<void> {
  const { row, facts } = state;
  const [mask, one] = [editedMask(), edited.get(edit.mask)];
  if (!row || !facts || !mask || !one || edit.saving || stroke) return;
  if (!one.steps.unsaved) return say("nothing to save");
  const { top } = one.steps;
  edit.saving = true;
  say("saving");
  try {
    mask.saved = await saveCorrection(row.id, mask, facts.scan_sha256, pack(one.labels));
    one.steps.markSaved(top);
    keep(mask, one);
    say(`saved as ${mask.saved!.who}`);
  } catch (error) {
    const port = location.port;
    const where = /does not answer/.test((error as Error).message) ? ` Your changes are kept in this browser for port ${port}: add --port ${port}.` : "";
    say(`not saved: ${(error as Error).message}${where}`, true);
  }
  edit.saving = false;
  tell();
}

/** Show the last correction that was saved, and go on from it. */
export async function openSaved(): Promise<void> {
  const { row, facts } = state;
  const mask = editedMask();
  if (!row || !mask?.saved || hindrance()) return say(hindrance(), true);
  try {
    const one = await open(mask);
    say("loading the correction");
    const { data } = await getCorrection(row.id, mask);
    if (state.facts !== facts) return;
    if (data.length !== one.labels.length) throw new Error("the correction is not on the scan's grid");
    const list: number[] = [];
    become(one.labels, data as Uint8Array, list);
    one.steps.add(list);
    one.steps.markSaved(one.steps.top);
    keep(mask, one);
    say(`the correction of ${mask.saved.who} is shown`);
    shownAgain();
  } catch (error) {
    say((error as Error).message, true);
  }
}
