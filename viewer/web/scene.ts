// What the 3-D pane shows, and what it says while it cannot.

import { getBytes, type ScanFacts } from "./api";
import type { Scene, Surface, Tissue } from "./render";
import { colorOf } from "./labels";
import { LUNG_COLORS, NODULE_COLOR } from "./slice";
import { element, make, state, watch } from "./state";

type Kind = "surfaces" | "bones" | "vessels";

const KINDS: Record<Kind, string> = { surfaces: "Lungs and nodules", bones: "Bones", vessels: "Vessels in the lungs" };

const TISSUES: Record<keyof ScanFacts["tissues"], Tissue> = {
  bones: { name: "hilum-bones", min: 150, max: 700, R: [60, 200, 255], G: [30, 160, 250], B: [20, 120, 230], A: [0, 90, 220], I: [0, 90, 255] },
  vessels: { name: "hilum-vessels", min: -550, max: 50, R: [40, 200, 255], G: [60, 90, 225], B: [90, 80, 205], A: [0, 60, 230], I: [0, 130, 255] },
};

const SURFACES: Record<string, { color: [number, number, number]; opacity: number }> = {
  nodules: { color: NODULE_COLOR, opacity: 1 },
  right: { color: LUNG_COLORS[1], opacity: 0.5 },
  left: { color: LUNG_COLORS[2], opacity: 0.5 },
  lungs: { color: LUNG_COLORS[1], opacity: 0.5 },
};

/** Azimuth and elevation in degrees: from the front, a little from above. */
const VIEWPOINT: [number, number] = [180, 10];

let scene: Promise<Scene> | null = null;
let turn = 0;
/** Whether the scan's 3-D view was asked for, and the surfaces of labels in it. */
let started = false;
let drawnLabels = "";

/** Labels of more milliliters are drawn like lungs: what is inside must be seen. */
const LARGE_ML = 200;

function say(text: string, how: "waiting" | "working" | "drawn" | "failed"): void {
  element("render").dataset.state = how;
  element("render-message").textContent = text;
}

/** Where the browser has no WebGL2 the planes still work; the pane says why it is empty. */
function hasWebGl2(): boolean {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return context !== null;
}

export function setUpScene(): void {
  const choice = element<HTMLSelectElement>("scene");
  for (const [kind, label] of Object.entries(KINDS)) {
    const option = make("option", label);
    option.value = kind;
    choice.append(option);
  }
  choice.addEventListener("change", () => void showScene());
  watch(["layers"], () => {
    const urls = labelSurfaces().map(({ url }) => url).join();
    if (started && choice.value === "surfaces" && urls !== drawnLabels) void showScene();
  });
}

/** Choose what a new scan is first shown as. */
export function startScene(): void {
  const choice = element<HTMLSelectElement>("scene");
  started = true;
  const surfaces = [...Object.values(state.facts?.surfaces ?? {}), ...labelSurfaces()].some(Boolean);
  choice.options[0].textContent = state.layers.length ? "Lungs, nodules, labels" : KINDS.surfaces;
  for (const option of choice.options) {
    option.disabled = option.value === "surfaces" ? !surfaces : !state.facts?.tissues[option.value as keyof typeof TISSUES];
  }
  if (choice.selectedOptions[0]?.disabled) choice.value = "bones";
  void showScene();
}

export function nextScene(): void {
  const choice = element<HTMLSelectElement>("scene");
  const open = [...choice.options].filter((option) => !option.disabled);
  choice.value = open[(open.indexOf(choice.selectedOptions[0]) + 1) % open.length].value;
  void showScene();
}

export async function showScene(): Promise<void> {
  const mine = ++turn;
  const stale = () => mine !== turn;
  const kind = element<HTMLSelectElement>("scene").value as Kind;
  if (!hasWebGl2()) {
    element<HTMLSelectElement>("scene").disabled = true;
    return say("No 3-D view: this browser has no WebGL2, or it is switched off. The three planes work without it.", "failed");
  }
  try {
    say("drawing the 3-D view", "working");
    scene ??= import("./render.js").then(({ createScene }) => createScene(element("render").querySelector("canvas")!));
    const view = await scene;
    if (stale()) return;
    const done = kind === "surfaces" ? await showSurfaces(view, stale) : await showTissue(view, kind, stale);
    if (!done || stale()) return;
    view.look(...VIEWPOINT, kind === "surfaces" ? 1 : kind === "bones" ? 1.25 : 1.5);
    performance.mark("hilum:render");
    say("", "drawn");
  } catch (error) {
    if (!stale()) say(`No 3-D view: ${(error as Error).message}`, "failed");
  }
}

/** The surfaces of the labels that are switched on. */
function labelSurfaces(): Wanted[] {
  return state.layers.flatMap(({ on, map }) => (on ? map.labels : []).flatMap((label): Wanted[] => label.surface
    ? [{ name: label.surface, url: label.surface, color: colorOf(label), opacity: label.ml > LARGE_ML ? 0.35 : 0.9 }] : []));
}

interface Wanted { name: string; url: string; color: [number, number, number]; opacity: number }

const files = new Map<string, Promise<ArrayBuffer>>();

/** A surface is made once; switching a label off and on asks the server nothing. */
function fileOf(url: string): Promise<ArrayBuffer> {
  const known = files.get(url) ?? getBytes(url);
  files.set(url, known);
  known.catch(() => files.delete(url));
  return known;
}

async function showSurfaces(view: Scene, stale: () => boolean): Promise<boolean> {
  const labels = labelSurfaces();
  drawnLabels = labels.map(({ url }) => url).join();
  const others = Object.entries(state.facts?.surfaces ?? {}).flatMap(([name, url]): Wanted[] =>
    url && SURFACES[name] ? [{ name, url, ...SURFACES[name] }] : []);
  const opaqueFirst = [...others, ...labels].sort((one, other) => other.opacity - one.opacity);
  const got = await Promise.allSettled(opaqueFirst.map(async (one): Promise<Surface> => ({ ...one, stl: await fileOf(one.url) })));
  if (stale()) return false;
  const surfaces = got.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const failed = got.find((one) => one.status === "rejected");
  if (failed && surfaces.length === 0) throw failed.reason; // a scan without lungs still has its labels
  await view.showSurfaces(surfaces.filter(({ stl }) => stl.byteLength > 84));
  return true;
}

async function showTissue(view: Scene, kind: keyof typeof TISSUES, stale: () => boolean): Promise<boolean> {
  const url = state.facts?.tissues[kind];
  if (!url) throw new Error(kind === "bones" ? "the scan is not in HU" : "there is no lung mask");
  const file = await fileOf(url);
  if (stale()) return false;
  await view.showVolume(file, TISSUES[kind]);
  return true;
}

/** The scan is gone: nothing of it may stay in the pane. */
export async function clearScene(): Promise<void> {
  turn++;
  started = false;
  files.clear();
  say("3-D view: waiting for the scan", "waiting");
  (await scene)?.clear();
}

/** The pane's canvas, drawn in this very moment: its pixels do not outlive a frame. */
export async function freshRender(): Promise<HTMLCanvasElement | null> {
  if (element("render").dataset.state !== "drawn" || !scene) return null;
  (await scene).draw();
  return element("render").querySelector("canvas");
}
