// The marks of a detector: listed by their probability (click to jump), and what they are drawn as.

import type { Detection } from "./api";
import { change, element, make, state, watch } from "./state";

/** Unlike the rings of the nodules, which are yellow: the model has said this, not the truth. */
export const DETECTION = "#ff6a4d";

/** Half the width of a mark without a diameter. */
const UNKNOWN_MM = 3;

export function setUpDetections(): void {
  watch(["facts"], showDetections);
  watch(["detection"], markDetection);
}

export function radiusOf(detection: Detection): number {
  return detection.diameter_mm === null ? UNKNOWN_MM : detection.diameter_mm / 2;
}

export function shownProbability(detection: Detection): string {
  return String(Number(detection.probability.toPrecision(3)));
}

function jumpTo(detection: Detection): void {
  change({ detection, crosshair: detection.world });
}

function showDetections(): void {
  const all = state.facts?.detections ?? null;
  element("marks").hidden = all === null;
  element("detection-count").textContent = all ? String(all.length) : "";
  element("detections").replaceChildren(...(all ?? []).map((detection, number) => {
    const row = make("li");
    row.dataset.number = String(number);
    row.tabIndex = 0;
    const head = make("p", shownProbability(detection));
    if (detection.diameter_mm !== null) head.append(make("span", `  ${detection.diameter_mm.toFixed(1)} mm`, "size"));
    row.append(head);
    if (state.facts?.nodules.length) row.append(make("p", detection.nodule === null ? "on no nodule" : `on nodule ${detection.nodule}`, "small"));
    row.addEventListener("click", () => jumpTo(detection));
    row.addEventListener("keydown", (event) => { if (event.key === "Enter") jumpTo(detection); });
    return row;
  }));
  change({ detection: null });
}

function markDetection(): void {
  const at = state.detection ? state.facts?.detections?.indexOf(state.detection) : -1;
  for (const row of element("detections").querySelectorAll<HTMLElement>("li")) {
    const current = row.dataset.number === String(at);
    row.setAttribute("aria-current", String(current));
    if (current) row.scrollIntoView({ block: "nearest" });
  }
}
