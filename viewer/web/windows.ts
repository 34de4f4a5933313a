// The gray window: the presets of hilum.WINDOW_PRESETS, and the whole range of the scan.

import { distance } from "./geometry";
import type { Volume } from "./nifti";
import { change, element, make, state, watch, type Tool } from "./state";

/** Center and width in HU, in the order of their keys. */
export const PRESETS: [string, number, number][] = [
  ["lung", -600, 1500], ["mediastinum", 40, 400], ["bone", 400, 1800], ["soft-tissue", 50, 350],
];

const TOOLS: Record<Tool, string> = {
  crosshair: "Drag moves the crosshair (c)",
  slices: "Drag up and down goes through the slices (t)",
  window: "Drag sets the window: right is wider, down is brighter (w); the right button always does",
  measure: "Drag measures in mm (m)",
  circle: "Drag from the center of a circle: HU statistics (o)",
  edit: "Drag corrects a mask (e)",
};

export function setUpWindows(): void {
  [...PRESETS.map(([name]) => name), "full"].forEach((name, i) => {
    const button = make("button", name.replace("-", " "));
    button.dataset.preset = name;
    button.title = `${name === "full" ? "The whole range of the scan" : PRESETS[i].slice(1).join(" / ")} (${i + 1})`;
    button.addEventListener("click", () => preset(i));
    element("presets").append(button);
  });
  for (const [tool, title] of Object.entries(TOOLS)) {
    const button = make("button", tool);
    button.dataset.tool = tool;
    button.title = title;
    button.addEventListener("click", () => change({ tool: tool as Tool }));
    element("tools").append(button);
  }
  watch(["center", "width", "ct"], show);
  watch(["tool"], showTool);
  watch(["measures"], showMeasure);
  show();
  showTool();
}

export function preset(i: number): void {
  if (i < PRESETS.length && isHu()) change({ center: PRESETS[i][1], width: PRESETS[i][2] });
  if (i === PRESETS.length && state.ct) {
    const [low, high] = range(state.ct);
    change({ center: (low + high) / 2, width: Math.max(high - low, 1e-3) });
  }
}

/** A scan stored from 0 to 1 has no HU, and so no presets. */
export function isHu(): boolean {
  return (state.facts?.volumes.ct.unit ?? "HU") === "HU";
}

/** What a scan that was just opened is shown with. */
export function startWindow(): void {
  if (!state.ct) return;
  for (const button of element("presets").querySelectorAll("button")) button.disabled = button.dataset.preset !== "full" && !isHu();
  if (!isHu()) preset(PRESETS.length);
}

function range(volume: Volume): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const value of volume.data) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const ends = [low, high].map((stored) => stored * volume.slope + volume.intercept);
  return [Math.min(...ends), Math.max(...ends)];
}

function show(): void {
  const digits = state.width < 10 ? 2 : 0;
  element("window").textContent = `C ${state.center.toFixed(digits)}  W ${state.width.toFixed(digits)}`;
  for (const button of element("presets").querySelectorAll("button")) {
    const known = PRESETS.find(([name]) => name === button.dataset.preset);
    button.setAttribute("aria-pressed", String(known?.[1] === state.center && known[2] === state.width));
  }
}

function showMeasure(): void {
  const last = state.measures.at(-1);
  element("measured").textContent = last ? `${last.circle ? "radius " : ""}${distance(last.from, last.to).toFixed(1)} mm` : "";
}

function showTool(): void {
  for (const button of element("tools").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === state.tool));
  }
  element("panes").dataset.tool = state.tool;
}
