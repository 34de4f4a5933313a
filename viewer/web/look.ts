// The panel "View": outlines, slabs, cine and the comparison of two masks; and what was measured last.

import { AGREEMENT_COLORS, compare, largestDisagreement, masksOf, type Mask } from "./agreement";
import { statistics } from "./circle";
import { changeSpeed, togglePlay } from "./cine";
import { isHu } from "./windows";
import type { Key } from "./keyboard";
import { switchOn } from "./labels";
import { linkParts, type LinkPart } from "./link";
import { plot, profileOf } from "./profile";
import { SLABS, type Slab } from "./slab";
import { change, element, make, state, watch } from "./state";

const MEASURE = "#ff9bd2";
const NONE = "";

export const LOOK_KEYS: Key[] = [
  { keys: ["h"], shown: "h", what: "masks filled or as outlines", run: () => change({ outline: !state.outline, masks: true }) },
  { keys: ["z"], shown: "z", what: "one slice, MIP, mean, MinIP of a slab", run: nextSlab },
  { keys: ["<", ">"], shown: "< >", what: "thinner, thicker slab", run: (key) => change({ slabMm: thickness(state.slabMm + (key === ">" ? 1 : -1)) }) },
  { keys: [" "], shown: "Space", what: "cine: play, pause", run: togglePlay },
  { keys: [",", "."], shown: ", .", what: "cine: slower, faster", run: (key) => changeSpeed(key === "." ? 1 : -1) },
  { keys: ["o"], shown: "o", what: "drag draws a circle: HU statistics", run: () => change({ tool: "circle" }) },
  { keys: ["j"], shown: "j", what: "largest disagreement of the compared masks", run: jump },
];

export function setUpLook(): void {
  const slab = element<HTMLSelectElement>("slab");
  slab.replaceChildren(...Object.entries(SLABS).map(([value, name]) => Object.assign(make("option", name), { value })));
  slab.addEventListener("change", () => change({ slab: slab.value as Slab }));
  const mm = element<HTMLInputElement>("slab-mm");
  mm.addEventListener("input", () => change({ slabMm: thickness(Number(mm.value)), slab: state.slab === "off" ? "mip" : state.slab }));
  for (const outline of [false, true]) {
    element(outline ? "outline" : "fill").addEventListener("click", () => change({ outline, masks: true }));
  }
  for (const id of ["mask-a", "mask-b"]) element(id).addEventListener("change", () => choose());
  element("jump-disagreement").addEventListener("click", jump);
  watch(["outline", "slab", "slabMm"], show);
  panel().addEventListener("toggle", offer);
  watch(["lungs", "noduleMask", "layers", "ct"], () => {
    if (panel().open || chosen.a || chosen.b) offer(); // the labels of a mask are counted voxel by voxel
  });
  watch(["tool"], compareChosen);
  watch(["agreement"], showAgreement);
  watch(["measures", "ct"], showMeasured);
  show();
  offer();
  showAgreement();
}

function panel(): HTMLDetailsElement {
  return document.querySelector<HTMLDetailsElement>("#look details")!;
}

function thickness(mm: number): number {
  return Math.min(Math.max(Math.round(mm), 1), 100);
}

function nextSlab(): void {
  const kinds = Object.keys(SLABS) as Slab[];
  change({ slab: kinds[(kinds.indexOf(state.slab) + 1) % kinds.length] });
}

function show(): void {
  element("fill").setAttribute("aria-pressed", String(!state.outline));
  element("outline").setAttribute("aria-pressed", String(state.outline));
  element<HTMLSelectElement>("slab").value = state.slab;
  element<HTMLInputElement>("slab-mm").value = String(state.slabMm);
  element("shown-slab").textContent = `${state.slabMm} mm`;
}

linkParts.push(
  {
    key: "slab",
    get: () => (state.slab === "off" ? null : `${state.slab},${state.slabMm}`),
    set: (text) => {
      const [kind, mm] = text.split(",");
      if (!Object.hasOwn(SLABS, kind) || !/^\d{1,3}$/.test(mm ?? "")) return false;
      change({ slab: kind as Slab, slabMm: thickness(Number(mm)) });
      return true;
    },
  },
  {
    key: "outline",
    get: () => (state.outline ? "1" : null),
    set: (text) => {
      if (text === "1") change({ outline: true });
      return text === "1";
    },
  },
  {
    key: "least",
    get: () => (state.least > 0 ? String(state.least) : null),
    set: (text) => {
      const least = Number(text);
      if (!(least >= 0 && least <= 1)) return false;
      change({ least });
      return true;
    },
  },
  ...(["a", "b"] as const).map((side): LinkPart => ({
    key: `mask-${side}`,
    get: () => chosen[side] || null,
    // The mask may not be loaded yet; one that never comes is not compared.
    set: (text) => {
      chosen[side] = text;
      offer();
      return true;
    },
  })),
);

let masks: Mask[] = [];
/** What was chosen stays from scan to scan, where the next one has such a mask. */
const chosen = { a: NONE, b: NONE };

/** List the masks that are here now. */
function offer(): void {
  masks = masksOf(state);
  for (const side of ["a", "b"] as const) {
    const select = element<HTMLSelectElement>(`mask-${side}`);
    const options = [make("option", masks.length > 1 ? "none" : "no two masks here"), ...masks.map(({ id, name }) => Object.assign(make("option", name), { value: id }))];
    options[0].value = NONE;
    select.replaceChildren(...options);
    select.value = masks.some(({ id }) => id === chosen[side]) ? chosen[side] : NONE;
    select.disabled = masks.length < 2;
  }
  compareChosen();
}

function choose(): void {
  for (const side of ["a", "b"] as const) chosen[side] = element<HTMLSelectElement>(`mask-${side}`).value;
  for (const layer of new Set(pair().map((mask) => mask?.layer))) if (layer && !layer.volume) switchOn(layer.map);
  compareChosen();
}

function pair(): (Mask | undefined)[] {
  return [chosen.a, chosen.b].map((wanted) => masks.find(({ id }) => id === wanted));
}

let compared: unknown[] = [];

/** Anew only if one of the masks is another one, or was corrected: a click that switches a label map on or off changes nothing here. */
function compareChosen(): void {
  if (state.tool === "edit") return; // the mask that is corrected is drawn alone
  const [a, b] = pair();
  const now = [state.ct, state.edits, a?.id, a?.volume, b?.id, b?.volume];
  if (now.every((one, i) => one === compared[i]) && now.length === compared.length) return;
  compared = now;
  change({ agreement: state.ct && a?.volume && b?.volume && a.id !== b.id ? compare(state.ct, a, b) : null });
}

function showAgreement(): void {
  const { agreement, ct } = state;
  const place = element("agreement");
  place.hidden = !agreement;
  if (!agreement || !ct) return;
  const { dice, ml } = agreement;
  Object.assign(place.dataset, { dice: String(dice), ...Object.fromEntries(Object.entries(ml).map(([name, value]) => [name, String(value)])) });
  const rows: [string, string, keyof typeof AGREEMENT_COLORS | null][] = [
    ["Dice", Number.isNaN(dice) ? "none: both are empty" : dice.toFixed(4), null],
    ["A", milliliters(ml.a), null], ["B", milliliters(ml.b), null],
    ["A and B", milliliters(ml.both), "both"], ["only A", milliliters(ml.onlyA), "a"], ["only B", milliliters(ml.onlyB), "b"],
  ];
  element("agreement-figures").replaceChildren(...rows.flatMap(([name, value, color]) => {
    const term = make("dt");
    if (color) {
      const swatch = make("span", "", "swatch");
      swatch.style.background = `rgb(${AGREEMENT_COLORS[color].join()})`;
      term.append(swatch);
    }
    term.append(name);
    return [term, make("dd", value)];
  }));
  element("agreement-grid").textContent = `On the shown grid, voxels of ${ct.geometry.spacing.map((mm) => Number(mm.toFixed(3))).join(" × ")} mm. Other masks are hidden.`;
  element<HTMLButtonElement>("jump-disagreement").disabled = ml.onlyA + ml.onlyB === 0;
}

function milliliters(ml: number): string {
  return `${ml >= 100 ? ml.toFixed(1) : ml.toFixed(3)} ml`;
}

function jump(): void {
  const found = state.agreement && largestDisagreement(state.agreement, state.plane);
  if (found) change({ crosshair: found.world });
}

/** The last measure: of a circle its statistics, of a line the values along it. */
function showMeasured(): void {
  const last = state.measures.at(-1);
  element("measure").hidden = !last || !state.ct;
  if (!last || !state.ct) return;
  const [unit, digits] = isHu() ? ["HU", 1] : ["of 0..1", 4];
  const body = element("measure-body");
  element("measure-name").textContent = last.circle ? "Circle" : `${unit} along the line`;
  if (!last.circle) return body.replaceChildren(...plot(profileOf(state.ct, last), unit, MEASURE));
  const found = statistics(state.ct, last);
  if (!found) return body.replaceChildren(make("p", "no voxel's center lies in the circle", "small"));
  const { mean, sd, min, max, area, voxels } = found;
  const list = make("dl");
  list.id = "circle";
  Object.assign(list.dataset, Object.fromEntries(Object.entries(found).map(([name, value]) => [name, String(value)])));
  const rows = [["Mean", `${mean.toFixed(digits)} ${unit}`], ["SD", `${sd.toFixed(digits)} ${unit}`], ["Min, max", `${trimmed(min)}, ${trimmed(max)} ${unit}`],
    ["Area", `${area.toFixed(1)} mm²`], ["Voxels", String(voxels)]];
  list.append(...rows.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
  const where = state.slab === "off" ? "" : "Of the slice in the middle of the slab.";
  body.replaceChildren(list, ...(where ? [make("p", where, "small")] : []));
}

function trimmed(value: number): string {
  return String(Number(value.toFixed(4)));
}
