// What is known of the scan: its nodules (click to jump), figures, notes, recipe; and the readings at the foot.

import type { Nodule } from "./api";
import { valueAt } from "./nifti";
import { reading } from "./plane";
import { nearest } from "./geometry";
import { change, element, make, shifted, state, watch } from "./state";

export function setUpFacts(): void {
  watch(["facts"], showNodules);
  watch(["facts", "row", "ct"], showFigures);
  watch(["facts"], showDoubt);
  watch(["nodule"], markNodule);
  watch(["crosshair", "ct", "beside"], showCrosshair);
  watch(["pointer", "ct", "beside"], showPointer);
}

export function jumpTo(nodule: Nodule): void {
  change({ nodule, crosshair: nodule.world });
}

/** The next nodule of the list, or the one before. */
export function stepNodule(by: number): void {
  const all = state.facts?.nodules ?? [];
  if (all.length === 0) return;
  const now = all.findIndex((nodule) => nodule.label === state.nodule?.label);
  jumpTo(all[now < 0 ? (by > 0 ? 0 : all.length - 1) : (now + by + all.length) % all.length]);
}

function showDoubt(): void {
  const doubt = state.facts?.doubt ?? "";
  element("doubt").hidden = doubt === "";
  element("doubt").textContent = doubt && `Not checked: ${doubt}. This may not be what the run wrote.`;
}

function showNodules(): void {
  const all = state.facts?.nodules ?? [];
  element("nodule-count").textContent = state.facts ? String(all.length) : "";
  element("nodules").replaceChildren(...all.map((nodule) => {
    const row = make("li");
    row.dataset.label = String(nodule.label);
    row.tabIndex = 0;
    const head = make("p", `${nodule.label}  `);
    head.append(make("span", `${nodule.diameter_mm.toFixed(1)} mm`, "size"));
    row.append(head);
    for (const line of describe(nodule)) row.append(make("p", line, "small"));
    row.addEventListener("click", () => jumpTo(nodule));
    row.addEventListener("keydown", (event) => { if (event.key === "Enter") jumpTo(nodule); });
    return row;
  }));
  markNodule();
}

function describe(nodule: Nodule): string[] {
  const lines: string[] = [];
  const parts: string[] = [];
  if (nodule.inside_lungs !== null) parts.push(`${Math.round(nodule.inside_lungs * 100)} % inside the lungs`);
  if (nodule.mean_hu !== null) parts.push(`mean ${Math.round(nodule.mean_hu)} HU`);
  if (parts.length) lines.push(parts.join(", "));
  const scores = Object.entries(nodule.scores ?? {}).filter(([, value]) => value !== null && typeof value !== "object");
  if (scores.length) lines.push(scores.map(([name, value]) => `${plain(name)} ${number(value)}`).join(", "));
  nodule.readers?.forEach((reader, i) => {
    const said = Object.entries(reader).filter(([, value]) => value !== null && typeof value !== "object");
    if (said.length) lines.push(`reader ${i + 1}: ${said.map(([name, value]) => `${plain(name)} ${number(value)}`).join(", ")}`);
  });
  return lines;
}

function markNodule(): void {
  for (const row of element("nodules").querySelectorAll<HTMLElement>("li")) {
    const current = row.dataset.label === String(state.nodule?.label);
    row.setAttribute("aria-current", String(current));
    if (current) row.scrollIntoView({ block: "nearest" });
  }
}

function showFigures(): void {
  const { row, facts } = state;
  const lines: [string, string][] = [];
  if (row) lines.push(["Status", row.status]);
  const shape = state.ct?.geometry.shape ?? row?.shape;
  const spacing = state.ct?.geometry.spacing ?? row?.spacing;
  if (shape) lines.push(["Voxels z×y×x", shape.join("×")]);
  if (spacing) lines.push(["Spacing, mm", spacing.map((mm) => Number(mm.toFixed(3))).join("×")]);
  if (row?.right_ml != null) lines.push(["Right lung, ml", row.right_ml.toFixed(0)]);
  if (row?.left_ml != null) lines.push(["Left lung, ml", row.left_ml.toFixed(0)]);
  if (row?.risk != null) lines.push(["Risk", row.risk_words]);
  for (const [name, value] of flat(facts?.labels)) lines.push([plain(name), value]);
  const all = flat(facts?.figures).map(([name, value]): [string, string] => [plain(name), value]);
  element("figures").replaceChildren(...pairs(lines));
  element("all-figures").replaceChildren(...pairs(all));
  element("more").hidden = all.length === 0;
  element("notes").replaceChildren(...(facts?.notes ?? []).map((note) => {
    const item = make("li");
    item.append(make("strong", note.code), ` ${note.text}`);
    return item;
  }));
  const recipe = facts?.recipe ?? state.session?.recipe ?? null;
  element("recipe").hidden = !recipe;
  element("recipe-text").textContent = recipe ?? "";
}

function pairs(lines: [string, string][]): HTMLElement[] {
  return lines.flatMap(([name, value]) => [make("dt", name), make("dd", value)]);
}

/** Numbers and words of a record; what is deeper than one level is left to the report. */
function flat(record: Record<string, unknown> | undefined): [string, string][] {
  const simple = (value: unknown) => ["number", "string", "boolean"].includes(typeof value);
  return Object.entries(record ?? {}).flatMap(([name, value]): [string, string][] => {
    if (simple(value)) return [[name, number(value)]];
    if (value === null || typeof value !== "object" || Array.isArray(value)) return [];
    return Object.entries(value).filter(([, inner]) => simple(inner)).map(([key, inner]) => [`${name} ${key}`, number(inner)]);
  });
}

function number(value: unknown): string {
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : String(value);
}

function plain(name: string): string {
  return name.replaceAll("_", " ");
}

function showCrosshair(): void {
  const place = element("at-crosshair");
  if (!state.ct) { place.textContent = ""; return; }
  place.textContent = `crosshair  ${reading(state.ct, state.crosshair, valueAt, unit())}`;
  place.dataset.voxel = nearest(state.ct.geometry, state.crosshair)?.join(",") ?? "";
  place.dataset.world = state.crosshair.join(",");
}

function showPointer(): void {
  const { ct, beside, pointer } = state;
  const there = beside && pointer && nearest(beside.geometry, shifted(pointer));
  element("at-pointer").textContent = ct && pointer
    ? `pointer  ${reading(ct, pointer, valueAt, unit())}${there ? `   ${state.facts?.beside?.[1] ?? "beside"} ${valueAt(beside, there).toFixed(0)} HU` : ""}` : "";
}

function unit(): string {
  return (state.facts?.volumes.ct.unit ?? "HU") === "HU" ? "HU" : "of 0..1";
}
