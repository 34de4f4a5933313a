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
  watch(["least"], hideLess);
  element("least").addEventListener("input", () => change({ least: Number(element<HTMLInputElement>("least").value) / 1000 }));
}

export function radiusOf(detection: Detection): number {
  return detection.diameter_mm === null ? UNKNOWN_MM : detection.diameter_mm / 2;
}

export function shownProbability(detection: Detection): string {
  return String(Number(detection.probability.toPrecision(3)));
}

/** Whether a mark is probable enough for the slider; probabilities may be of any range. */
export function isShown({ probability }: Detection): boolean {
  return state.least === 0 || probability >= leastProbability();
}

/** The slider goes from the least to the highest probability of the scan, or from 0 to 1 where that holds all. */
function leastProbability(): number {
  const all = (state.facts?.detections ?? []).map(({ probability }) => probability);
  const [low, high] = [Math.min(0, ...all), Math.max(1, ...all)];
  return low + state.least * (high - low);
}

function hideLess(): void {
  const all = state.facts?.detections ?? [];
  const shown = all.filter(isShown).length;
  element("detection-count").textContent = state.facts?.detections ? (shown < all.length ? `${shown} of ${all.length}` : String(all.length)) : "";
  element<HTMLInputElement>("least").value = String(Math.round(state.least * 1000));
  element("shown-least").textContent = state.least === 0 ? "all" : `from ${Number(leastProbability().toPrecision(3))}`;
  for (const row of element("detections").querySelectorAll<HTMLElement>("li")) row.hidden = !isShown(all[Number(row.dataset.number)]);
}

function jumpTo(detection: Detection): void {
  change({ detection, crosshair: detection.world });
}

function showDetections(): void {
  const all = state.facts?.detections ?? null;
  element("marks").hidden = all === null;
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
  hideLess();
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
