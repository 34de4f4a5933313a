// The keys, in one table that is also the help.

import { element, make } from "./state";

export interface Key { keys: string[]; shown: string; what: string; run: (key: string) => void }

const GESTURES = [
  ["Drag", "the tool: crosshair, slices, window or measure"],
  ["Right drag", "set the window: right is wider, down is brighter"],
  ["Wheel", "next, previous slice"],
  ["Ctrl + wheel", "zoom"],
  ["Shift + drag", "move the picture; the middle button does too"],
  ["Double click", "one pane alone, or all panes"],
  ["One finger", "the tool, as a drag; a tap sets the crosshair"],
  ["Two fingers", "zoom and move the picture"],
  ["Double tap", "one pane alone, or all panes"],
];

export function setUpKeys(table: Key[]): void {
  element("key-list").replaceChildren(...table.flatMap(({ keys, shown, what }) => {
    const key = make("dt", shown);
    key.dataset.keys = JSON.stringify(keys);
    return [key, make("dd", what)];
  }));
  element("gesture-list").replaceChildren(...GESTURES.flatMap(([shown, what]) => [make("dt", shown), make("dd", what)]));
  const known = new Map(table.flatMap((entry) => entry.keys.map((key) => [key, entry] as const)));
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.key === "Escape" && target.matches("input, textarea, select")) return target.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || typing(target, event.key)) return;
    if (document.querySelector("dialog[open]")) return;
    const entry = known.get(event.key);
    if (!entry) return;
    event.preventDefault();
    entry.run(event.key);
  });
}

/** Keys that belong to the field or the button that has the focus. */
function typing(target: HTMLElement, key: string): boolean {
  if (target.matches("select") && key === " ") return true;
  if (target.matches("input[type=range], select")) return key.startsWith("Arrow") || key.startsWith("Page") || key === "Home" || key === "End";
  if (target.matches("button, summary, li")) return key === "Enter" || key === " ";
  return target.matches("input, textarea");
}

