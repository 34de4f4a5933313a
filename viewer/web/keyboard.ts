// The keys, in one table that is also the help.

import { element, make } from "./state";

export interface Key { keys: string[]; shown: string; what: string; run: (key: string) => void }

export function setUpKeys(table: Key[]): void {
  element("key-list").replaceChildren(...table.flatMap(({ shown, what }) => [make("dt", shown), make("dd", what)]));
  const known = new Map(table.flatMap((entry) => entry.keys.map((key) => [key, entry] as const)));
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.key === "Escape" && target.matches("input, textarea, select")) return target.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || typing(target, event.key)) return;
    if (element<HTMLDialogElement>("help").open) return;
    const entry = known.get(event.key);
    if (!entry) return;
    event.preventDefault();
    entry.run(event.key);
  });
}

/** Keys that belong to the field or the button that has the focus. */
function typing(target: HTMLElement, key: string): boolean {
  if (target.matches("input[type=range], select")) return key.startsWith("Arrow") || key.startsWith("Page") || key === "Home" || key === "End";
  if (target.matches("button, summary, li")) return key === "Enter" || key === " ";
  return target.matches("input, textarea");
}

