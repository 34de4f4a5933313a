// The page of `hilum view`: puts the parts together.

import { getJson, type Session } from "./api";
import { setUpCine } from "./cine";
import { setUpDetections } from "./detections";
import { EDIT_KEYS, setUpEditBar } from "./editbar";
import { closeDrawer, openDrawer, setUpDrawers } from "./drawers";
import { setUpFacts, stepNodule } from "./facts";
import type { PlaneName } from "./geometry";
import { openJump, setUpJump } from "./jump";
import { setUpKeys } from "./keyboard";
import { setUpLabels, toggleLabels } from "./labels";
import { copyLink, followLink, readLink, rememberViewer } from "./link";
import { openBeside, openScan, trouble } from "./loading";
import { notice } from "./notice";
import { LOOK_KEYS, setUpLook } from "./look";
import { PlaneView, views } from "./plane";
import { go, listen, zoom } from "./pointing";
import { setUpReview, toggleVerdict } from "./review";
import { firstScan, setUpScans, stepScan } from "./scans";
import { nextScene, setUpScene } from "./scene";
import { screenshot } from "./screenshot";
import { change, element, state, watch, type Key } from "./state";
import { setUpTags } from "./tags";
import { preset, setUpWindows, startWindow } from "./windows";

const PLANES: PlaneName[] = ["axial", "coronal", "sagittal"];
const planes = (["ct", "beside"] as const).flatMap((source) => PLANES.map((plane) => new PlaneView(plane, source)));

function redraw(): void {
  planes.forEach((view) => view.draw());
  if ((state.ct ?? state.coming) && performance.getEntriesByName("hilum:first-picture").length === 0) performance.mark("hilum:first-picture");
}

/** What is drawn over a slice, or chooses another one. Whatever else changes, slices are drawn anew from the voxels. */
const OVER_SLICES = new Set<Key>(["crosshair", "offset", "rings", "lines", "smooth", "plane", "side", "measures", "nodule", "detection", "least"]);

function redrawChanged(changed: Key[]): void {
  if (!changed.every((key) => OVER_SLICES.has(key))) planes.forEach((view) => view.forget());
  redraw();
}

/** Four panes; six where two volumes are beside each other; or one alone. */
function arrange(): void {
  const { alone, compare } = state;
  for (const section of document.querySelectorAll<HTMLElement>(".pane")) {
    const beside = section.id.endsWith("-beside");
    section.hidden = alone ? section.id !== alone : compare ? section.id === "render" : beside;
  }
  element("panes").dataset.layout = alone ? "one" : compare ? "six" : "four";
  element("compare").setAttribute("aria-pressed", String(compare));
  redraw();
}

function maximize(id: string): void {
  change({ alone: state.alone ? null : id });
}

function toggleCompare(): void {
  if (!state.facts?.volumes.beside) return;
  change({ compare: !state.compare, alone: null });
  if (state.compare) void openBeside();
}

function activeView(): PlaneView {
  return planes.find((view) => view.plane === state.plane && view.source === (state.compare ? state.side : "ct"))!;
}

function resetViews(): void {
  for (const plane of PLANES) Object.assign(views[plane], { zoom: 1, pan: [0, 0] });
  change({ offset: [0, 0, 0] });
  redraw();
}

function toggleFullscreen(): void {
  if (document.fullscreenElement) void document.exitFullscreen();
  else document.documentElement.requestFullscreen().catch(() => notice("This browser does not allow the full screen here."));
}

/** Escape ends one thing after another: a drawer, then the pane that is alone. */
function escape(): void {
  if (!closeDrawer()) change({ alone: null });
}

/** The list of scans may be in a drawer. */
function openSearch(): void {
  openDrawer("run");
  element("search").focus();
}

function alonePane(): string {
  return state.compare && state.side === "beside" ? `${state.plane}-beside` : state.plane;
}

function setUpButtons(): void {
  const press = (id: string, key: "masks" | "rings" | "invert" | "coupled") => {
    element(id).addEventListener("click", () => change({ [key]: !state[key] }));
    watch([key], () => element(id).setAttribute("aria-pressed", String(state[key])));
  };
  press("mask", "masks");
  press("rings", "rings");
  press("invert", "invert");
  press("couple", "coupled");
  element("reset").addEventListener("click", resetViews);
  element("link").addEventListener("click", () => void copyLink());
  element("full").addEventListener("click", toggleFullscreen);
  document.addEventListener("fullscreenchange", () => element("full").setAttribute("aria-pressed", String(document.fullscreenElement !== null)));
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
setUpLook();
setUpCine(planes);
setUpTags();
setUpJump();
setUpDrawers();
setUpButtons();
planes.forEach((view) => listen(view, redraw, maximize));
setUpEditBar(planes);

setUpKeys([
  { keys: ["?"], shown: "?", what: "show these keys", run: () => element<HTMLDialogElement>("help").showModal() },
  { keys: ["ArrowUp", "ArrowDown"], shown: "↑ ↓", what: "next, previous slice of the plane under the pointer", run: (key) => go(activeView(), key === "ArrowUp" ? 1 : -1) },
  { keys: ["PageUp", "PageDown"], shown: "PgUp PgDn", what: "ten slices forward, back", run: (key) => go(activeView(), key === "PageUp" ? 10 : -10) },
  { keys: ["g"], shown: "g", what: "go to a voxel or a position in mm", run: openJump },
  { keys: ["1", "2", "3", "4", "5"], shown: "1 ... 5", what: "window: lung, mediastinum, bone, soft tissue, full", run: (key) => preset(Number(key) - 1) },
  { keys: ["I"], shown: "I", what: "invert the gray scale", run: () => change({ invert: !state.invert }) },
  { keys: ["c"], shown: "c", what: "drag moves the crosshair", run: () => change({ tool: "crosshair" }) },
  { keys: ["t"], shown: "t", what: "drag goes through the slices", run: () => change({ tool: "slices" }) },
  { keys: ["w"], shown: "w", what: "drag sets the window", run: () => change({ tool: "window" }) },
  { keys: ["m"], shown: "m", what: "drag measures in mm", run: () => change({ tool: "measure" }) },
  ...LOOK_KEYS,
  ...EDIT_KEYS,
  { keys: ["Backspace", "Delete"], shown: "Del", what: "remove the last measurement", run: () => change({ measures: state.measures.slice(0, -1) }) },
  { keys: ["l"], shown: "l", what: "show or hide the masks", run: () => change({ masks: !state.masks }) },
  { keys: ["k"], shown: "k", what: "show or hide all label maps", run: toggleLabels },
  { keys: ["r"], shown: "r", what: "show or hide the rings of nodules and the detections", run: () => change({ rings: !state.rings }) },
  { keys: ["x"], shown: "x", what: "show or hide the lines of the crosshair", run: () => change({ lines: !state.lines }) },
  { keys: ["i"], shown: "i", what: "smooth the voxels or show them as squares", run: () => change({ smooth: !state.smooth }) },
  { keys: ["[", "]"], shown: "[ ]", what: "previous, next nodule", run: (key) => stepNodule(key === "]" ? 1 : -1) },
  { keys: ["n", "p"], shown: "n p", what: "next, previous scan", run: (key) => stepScan(key === "n" ? 1 : -1) },
  { keys: ["a"], shown: "a", what: "accept the scan; again to undo", run: () => toggleVerdict("accept") },
  { keys: ["d"], shown: "d", what: "reject the scan; again to undo", run: () => toggleVerdict("reject") },
  { keys: ["b"], shown: "b", what: "show the other volume beside the scan", run: toggleCompare },
  { keys: ["u"], shown: "u", what: "move both volumes together, or one alone", run: () => { if (state.compare) change({ coupled: !state.coupled }); } },
  { keys: ["v"], shown: "v", what: "next 3-D view", run: nextScene },
  { keys: ["f"], shown: "f", what: "one pane alone, or all panes", run: () => change({ alone: state.alone ? null : alonePane() }) },
  { keys: ["Escape"], shown: "Esc", what: "close a drawer; show all panes", run: escape },
  { keys: ["F"], shown: "F", what: "full screen, or back", run: toggleFullscreen },
  { keys: ["+", "=", "-"], shown: "+ -", what: "zoom in, out", run: (key) => zoom(activeView(), key === "-" ? 1 / 1.25 : 1.25, redraw) },
  { keys: ["0"], shown: "0", what: "show the whole picture again", run: resetViews },
  { keys: ["y"], shown: "y", what: "copy a link to this view", run: () => void copyLink() },
  { keys: ["s"], shown: "s", what: "save a picture of the panes (PNG)", run: () => void screenshot() },
  { keys: ["/"], shown: "/", what: "search the scans", run: () => { if (!element("run").hidden) openSearch(); } },
]);

watch(["crosshair", "center", "width", "masks", "opacity", "rings", "lines", "smooth", "invert", "offset", "plane", "side", "measures", "nodule", "detection", "facts", "ct", "coming", "beside", "lungs", "noduleMask", "layers", "outline", "slab", "slabMm", "agreement", "least", "edits"], redrawChanged);
watch(["alone", "compare"], arrange);
watch(["ct"], startWindow);
watch(["compare"], () => { element("couple").hidden = !state.compare; });
watch(["facts"], () => {
  const offered = Boolean(state.facts?.volumes.beside);
  element<HTMLButtonElement>("compare").disabled = !offered;
  const [, other] = state.facts?.beside ?? ["", ""];
  element("compare").textContent = other && other !== "before" ? "Beside" : "Before / after";
  if (other) element("compare").title = `${state.facts!.beside!.join(" beside ")} (b)`;
  if (!offered) change({ compare: false });
  else if (state.compare) void openBeside();
});

async function start(): Promise<void> {
  try {
    const session = await getJson<Session>("api/session");
    element("title").textContent = session.name;
    element("title").title = session.name;
    element("version").textContent = `hilum ${session.version}`;
    element("run").hidden = session.kind !== "run";
    element("review").hidden = !session.reviews;
    element("show-run").hidden = session.kind !== "run";
    document.body.classList.remove("starting");
    change({ session });
    rememberViewer();
    const first = readLink(session.scans) ?? firstScan();
    if (first) await openScan(first, followLink);
    else trouble("There is no scan in this folder.");
  } catch (error) {
    document.body.classList.remove("starting");
    trouble((error as Error).message);
  }
}

/** A link that is opened in this page. */
window.addEventListener("hashchange", () => {
  const row = readLink(state.session?.scans ?? []);
  if (row && row.id !== state.row?.id) void openScan(row, followLink);
  else if (state.ct) followLink();
});

void start();
