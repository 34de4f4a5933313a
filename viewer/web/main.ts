// The page of `hilum view`: puts the parts together.

import { getJson, type Session } from "./api";
import { setUpDetections } from "./detections";
import { EDIT_KEYS, setUpEditBar } from "./editbar";
import { setUpFacts, stepNodule } from "./facts";
import type { PlaneName } from "./geometry";
import { setUpKeys } from "./keyboard";
import { setUpLabels, toggleLabels } from "./labels";
import { openOriginal, openScan, trouble } from "./loading";
import { PlaneView, views } from "./plane";
import { listen, zoom } from "./pointing";
import { setUpReview, toggleVerdict } from "./review";
import { firstScan, setUpScans, stepScan } from "./scans";
import { nextScene, setUpScene } from "./scene";
import { screenshot } from "./screenshot";
import { change, element, state, watch, type Key } from "./state";
import { preset, setUpWindows, startWindow } from "./windows";

const PLANES: PlaneName[] = ["axial", "coronal", "sagittal"];
const planes = (["ct", "original"] as const).flatMap((source) => PLANES.map((plane) => new PlaneView(plane, source)));

function redraw(): void {
  planes.forEach((view) => view.draw());
  if (state.ct && performance.getEntriesByName("hilum:first-picture").length === 0) performance.mark("hilum:first-picture");
}

/** What is drawn over a slice, or chooses another one. Whatever else changes, slices are drawn anew from the voxels. */
const OVER_SLICES = new Set<Key>(["crosshair", "rings", "lines", "smooth", "plane", "measures", "nodule", "detection"]);

function redrawChanged(changed: Key[]): void {
  if (!changed.every((key) => OVER_SLICES.has(key))) planes.forEach((view) => view.forget());
  redraw();
}

/** Four panes; six where before and after are beside each other; or one alone. */
function arrange(): void {
  const { alone, compare } = state;
  for (const section of document.querySelectorAll<HTMLElement>(".pane")) {
    const before = section.id.endsWith("-before");
    section.hidden = alone ? section.id !== alone : compare ? section.id === "render" : before;
  }
  element("panes").dataset.layout = alone ? "one" : compare ? "six" : "four";
  element("compare").setAttribute("aria-pressed", String(compare));
  redraw();
}

function maximize(id: string): void {
  change({ alone: state.alone ? null : id });
}

function toggleCompare(): void {
  if (!state.facts?.volumes.original) return;
  change({ compare: !state.compare, alone: null });
  if (state.compare) void openOriginal();
}

function activeView(): PlaneView {
  return planes.find((view) => view.plane === state.plane && view.source === "ct")!;
}

function step(count: number): void {
  const world = activeView().step(count);
  if (world) change({ crosshair: world });
}

function resetViews(): void {
  for (const plane of PLANES) Object.assign(views[plane], { zoom: 1, pan: [0, 0] });
  redraw();
}

function setUpButtons(): void {
  const press = (id: string, key: "masks" | "rings") => {
    element(id).addEventListener("click", () => change({ [key]: !state[key] }));
    watch([key], () => element(id).setAttribute("aria-pressed", String(state[key])));
  };
  press("mask", "masks");
  press("rings", "rings");
  const opacity = element<HTMLInputElement>("opacity");
  opacity.addEventListener("input", () => change({ opacity: Number(opacity.value) / 100, masks: true }));
  element("compare").addEventListener("click", toggleCompare);
  element("shot").addEventListener("click", () => void screenshot());
  element("close").addEventListener("click", () => element<HTMLDialogElement>("help").close());
  element("keys").addEventListener("click", () => element<HTMLDialogElement>("help").showModal());
}

setUpWindows();
setUpFacts();
setUpDetections();
setUpLabels();
setUpScans((row) => void openScan(row));
setUpReview();
setUpScene();
setUpButtons();
planes.forEach((view) => listen(view, redraw, maximize));
setUpEditBar(planes);

setUpKeys([
  { keys: ["?"], shown: "?", what: "these keys", run: () => element<HTMLDialogElement>("help").showModal() },
  { keys: ["ArrowUp", "ArrowDown"], shown: "↑ ↓", what: "slice of the plane under the pointer", run: (key) => step(key === "ArrowUp" ? 1 : -1) },
  { keys: ["PageUp", "PageDown"], shown: "PgUp PgDn", what: "ten slices", run: (key) => step(key === "PageUp" ? 10 : -10) },
  { keys: ["1", "2", "3", "4", "5"], shown: "1 ... 5", what: "window: lung, mediastinum, bone, soft tissue, full", run: (key) => preset(Number(key) - 1) },
  { keys: ["c"], shown: "c", what: "drag moves the crosshair", run: () => change({ tool: "crosshair" }) },
  { keys: ["w"], shown: "w", what: "drag sets the window (as the right button)", run: () => change({ tool: "window" }) },
  { keys: ["m"], shown: "m", what: "drag measures", run: () => change({ tool: "measure" }) },
  ...EDIT_KEYS,
  { keys: ["Backspace", "Delete"], shown: "Del", what: "the last measure away", run: () => change({ measures: state.measures.slice(0, -1) }) },
  { keys: ["l"], shown: "l", what: "masks", run: () => change({ masks: !state.masks }) },
  { keys: ["k"], shown: "k", what: "label maps, all or none", run: toggleLabels },
  { keys: ["r"], shown: "r", what: "rings of the nodules, detections", run: () => change({ rings: !state.rings }) },
  { keys: ["x"], shown: "x", what: "lines of the crosshair", run: () => change({ lines: !state.lines }) },
  { keys: ["i"], shown: "i", what: "smooth or bare voxels", run: () => change({ smooth: !state.smooth }) },
  { keys: ["[", "]"], shown: "[ ]", what: "nodule before, next", run: (key) => stepNodule(key === "]" ? 1 : -1) },
  { keys: ["n", "p"], shown: "n p", what: "next scan, scan before", run: (key) => stepScan(key === "n" ? 1 : -1) },
  { keys: ["a"], shown: "a", what: "accept (again: take it back)", run: () => toggleVerdict("accept") },
  { keys: ["d"], shown: "d", what: "reject (again: take it back)", run: () => toggleVerdict("reject") },
  { keys: ["b"], shown: "b", what: "before / after", run: toggleCompare },
  { keys: ["v"], shown: "v", what: "next 3-D view", run: nextScene },
  { keys: ["f", "Escape"], shown: "f", what: "one pane alone, all panes (double click)", run: (key) => change({ alone: state.alone || key === "Escape" ? null : state.plane }) },
  { keys: ["+", "=", "-"], shown: "+ -", what: "zoom (Ctrl and wheel); Shift and drag moves", run: (key) => zoom(activeView(), key === "-" ? 1 / 1.25 : 1.25, redraw) },
  { keys: ["0"], shown: "0", what: "whole picture again", run: resetViews },
  { keys: ["s"], shown: "s", what: "screenshot", run: () => void screenshot() },
  { keys: ["/"], shown: "/", what: "search the scans", run: () => element("search").focus() },
]);

watch(["crosshair", "center", "width", "masks", "opacity", "rings", "lines", "smooth", "plane", "measures", "nodule", "detection", "facts", "ct", "original", "lungs", "noduleMask", "layers", "edits"], redrawChanged);
watch(["alone", "compare"], arrange);
watch(["ct"], startWindow);
watch(["facts"], () => {
  const offered = Boolean(state.facts?.volumes.original);
  element<HTMLButtonElement>("compare").disabled = !offered;
  if (!offered) change({ compare: false });
  else if (state.compare) void openOriginal();
});

async function start(): Promise<void> {
  try {
    const session = await getJson<Session>("api/session");
    element("title").textContent = session.name;
    element("title").title = session.name;
    element("version").textContent = `hilum ${session.version}`;
    element("run").hidden = session.kind !== "run";
    element("review").hidden = !session.reviews;
    element("compare").hidden = session.kind !== "run";
    document.body.classList.remove("starting");
    change({ session });
    const first = firstScan();
    if (first) await openScan(first);
    else trouble("There is no scan in this folder.");
  } catch (error) {
    document.body.classList.remove("starting");
    trouble((error as Error).message);
  }
}

void start();
