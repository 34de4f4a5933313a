// Where the window is narrow, the lists and the tools are drawers: a button opens one, and a choice in it closes it.

import { element, watch } from "./state";

const NARROW = "(max-width: 1000px)"; // as in the style

const DRAWERS: Record<string, string> = { "show-run": "run", "show-tools": "bar", "show-facts": "facts" };

export function setUpDrawers(): void {
  for (const [button, drawer] of Object.entries(DRAWERS)) {
    element(button).addEventListener("click", () => show(document.body.dataset.drawer === drawer ? "" : drawer));
  }
  element("panes").addEventListener("pointerdown", () => show(""));
  watch(["row", "crosshair"], () => { if (document.body.dataset.drawer !== "bar") show(""); });
  window.matchMedia(NARROW).addEventListener("change", () => show(""));
}

/** Whether there was one to close. */
export function closeDrawer(): boolean {
  const open = Boolean(document.body.dataset.drawer);
  show("");
  return open;
}

export function openDrawer(drawer: string): void {
  if (window.matchMedia(NARROW).matches) show(drawer);
}

function show(drawer: string): void {
  document.body.dataset.drawer = drawer;
  for (const [button, name] of Object.entries(DRAWERS)) element(button).setAttribute("aria-expanded", String(name === drawer));
}
