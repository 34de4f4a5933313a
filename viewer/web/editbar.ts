// The bar of the tool that corrects masks, its keys, and what mouse, pen and finger do with it on a plane.

import { closeDrawer } from "./drawers";
import type { Key } from "./keyboard";
import type { PlaneView } from "./plane";
import {
  beginStroke, cancelStroke, chooseMask, discard, edit, editedMask, endStroke, goOn, openSaved, prepare, RADII, redo, restore,
  save, setUpEditing, stepsOf, undo, unsaved, type Mode,
} from "./editing";
import { change, element, make, state, watch } from "./state";

const MODES: Mode[] = ["brush", "eraser", "fill"];

export function setUpEditBar(planes: PlaneView[]): void {
  setUpEditing(show);
  for (const mode of MODES) element(`edit-${mode}`).addEventListener("click", () => choose(mode));
  const mask = element<HTMLSelectElement>("edit-mask");
  mask.addEventListener("change", () => { chooseMask(mask.value); void prepare(); });
  const label = element<HTMLSelectElement>("edit-label");
  label.addEventListener("change", () => { edit.label = Number(label.value); show(); });
  const radius = element<HTMLInputElement>("radius");
  [radius.min, radius.max] = RADII.map(String);
  radius.addEventListener("input", () => { edit.radius = Number(radius.value); show(); });
  element("ball").addEventListener("click", toggleBall);
  element("undo").addEventListener("click", undo);
  element("redo").addEventListener("click", redo);
  element("save-mask").addEventListener("click", () => void save());
  element("open-saved").addEventListener("click", () => void openSaved());
  watch(["tool"], () => { if (state.tool === "edit") closeDrawer(); });
  watch(["tool", "lungs", "noduleMask", "layers"], () => { if (state.tool === "edit") void prepare(); show(); });
  document.addEventListener("keydown", shortcut);
  planes.filter(({ source }) => source === "ct").forEach(listen);
  show();
}

function choose(mode: Mode): void {
  edit.mode = mode;
  change({ tool: "edit" });
  show();
}

function toggleBall(): void {
  edit.ball = !edit.ball;
  show();
}

function size(factor: number): void {
  edit.radius = Number(Math.min(Math.max(edit.radius * factor, RADII[0]), RADII[1]).toPrecision(2));
  show();
}

/** The next of the options of a list, as if it was chosen there. */
function next(id: string): void {
  const list = element<HTMLSelectElement>(id);
  list.selectedIndex = (list.selectedIndex + 1) % Math.max(list.options.length, 1);
  list.dispatchEvent(new Event("change"));
}

export const EDIT_KEYS: Key[] = [
  { keys: ["e"], shown: "e", what: "drag corrects a mask; again to end", run: () => change({ tool: state.tool === "edit" ? "crosshair" : "edit" }) },
  { keys: ["B", "E", "R"], shown: "B E R", what: "brush, eraser, fill a closed region", run: (key) => choose(MODES["BER".indexOf(key)]) },
  { keys: ["D"], shown: "D", what: "brush: ball or disc", run: toggleBall },
  { keys: ["{", "}"], shown: "{ }", what: "smaller, larger brush", run: (key) => size(key === "}" ? 1.25 : 0.8) },
  { keys: ["M", "L"], shown: "M L", what: "next mask, next label to correct", run: (key) => next(key === "M" ? "edit-mask" : "edit-label") },
  // Run by `shortcut`, since the table is of keys without Ctrl.
  { keys: [], shown: "Ctrl Z, Y", what: "undo, redo a correction", run: () => undefined },
  { keys: [], shown: "Ctrl S", what: "save the corrected mask", run: () => undefined },
];

function shortcut(event: KeyboardEvent): void {
  if (state.tool !== "edit" || !(event.ctrlKey || event.metaKey) || event.altKey) return;
  if ((event.target as HTMLElement).matches("textarea, input:not([type=range])")) return;
  const key = event.key.toLowerCase();
  const run = key === "s" ? () => void save() : key === "y" || (key === "z" && event.shiftKey) ? redo : key === "z" ? undo : null;
  if (!run) return;
  event.preventDefault();
  run();
}

function show(): void {
  const { facts, tool } = state;
  const on = tool === "edit";
  const refused = facts?.editing.refused ?? "";
  const mask = editedMask();
  const steps = stepsOf(edit.mask);
  showDrafts();
  element("edit").hidden = !on || !facts;
  const why = refused || (mask ? "" : "This scan has no stored mask to correct.");
  element("edit-refused").hidden = !why;
  element("edit-refused").textContent = why;
  element("edit-tools").hidden = why !== "";
  options("edit-mask", facts?.editing.masks.map(({ name, title }) => [name, title]) ?? [], edit.mask);
  options("edit-label", mask?.labels.map(({ value, name }) => [String(value), name === mask.title ? `value ${value}` : name]) ?? [], String(edit.label));
  for (const mode of MODES) element(`edit-${mode}`).setAttribute("aria-pressed", String(edit.mode === mode));
  element("ball").setAttribute("aria-pressed", String(edit.ball));
  element<HTMLInputElement>("radius").value = String(edit.radius);
  element("radius-mm").textContent = `${edit.radius.toFixed(1)} mm`;
  element<HTMLButtonElement>("undo").disabled = !steps?.canUndo;
  element<HTMLButtonElement>("redo").disabled = !steps?.canRedo;
  element<HTMLButtonElement>("save-mask").disabled = !steps?.unsaved || edit.saving;
  element("save-mask").title = `Save beside the run as ${facts?.editing.who ?? ""} (Ctrl S)`;
  const last = mask?.saved;
  element("open-saved").hidden = !last;
  element<HTMLButtonElement>("open-saved").disabled = !last?.current;
  element("open-saved").title = last ? `${last.current ? "Show the correction of" : "Made from an earlier output of this mask, by"} ${last.who}, ${clock(last.when)}` : "";
  Object.assign(element("edit-told"), { textContent: edit.told, title: edit.told, className: edit.bad ? "bad" : "" });
  const names = unsaved().map(({ title }) => title);
  element("unsaved").hidden = names.length === 0;
  element("unsaved").textContent = `● unsaved: ${names.join(", ")}`;
  const button = document.querySelector<HTMLElement>("#tools [data-tool=edit]");
  if (button) button.textContent = names.length ? "edit ●" : "edit";
}

function options(id: string, pairs: string[][], chosen: string): void {
  const list = element<HTMLSelectElement>(id);
  const names = JSON.stringify(pairs);
  if (list.dataset.names !== names) {
    list.replaceChildren(...pairs.map(([value, text]) => Object.assign(make("option", text), { value })));
    list.dataset.names = names;
  }
  list.value = chosen;
}

function showDrafts(): void {
  element("drafts").hidden = edit.drafts.length === 0;
  element("drafts").replaceChildren(...edit.drafts.map(({ mask, draft, fits }) => {
    const row = make("p");
    row.append(fits ? `Unsaved changes of the ${mask.title} of ${clock(draft.when)} ` : `Unsaved changes of the ${mask.title} of ${clock(draft.when)} cannot be used: the run has replaced this mask since. `);
    const again = make("button", "Restore");
    again.addEventListener("click", () => void restore(mask.name));
    const away = make("button", "Discard");
    away.addEventListener("click", () => void discard(mask.name));
    row.append(...(fits ? [again] : []), away);
    return row;
  }));
}

/** Day and time of this clock. */
function clock(when: string): string {
  const at = new Date(when);
  const two = (number: number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** The tool on a plane: the first button or one finger draws, and a ring shows the brush. */
function listen(view: PlaneView): void {
  const { canvas } = view;
  const ring = make("div", "", "brush-ring");
  ring.hidden = true;
  view.section.append(ring);
  const down = new Set<number>();

  const showRing = (event: PointerEvent) => {
    ring.hidden = state.tool !== "edit" || edit.mode === "fill" || event.type === "pointerleave" || (event.pointerType === "touch" && down.size !== 1);
    if (ring.hidden) return;
    const radius = Math.max(edit.radius / view.millimeters(), 1);
    const box = canvas.getBoundingClientRect();
    const pane = view.section.getBoundingClientRect();
    Object.assign(ring.style, {
      width: `${2 * radius}px`, height: `${2 * radius}px`,
      left: `${event.clientX - pane.left - radius}px`, top: `${event.clientY - pane.top - radius}px`,
    });
    ring.hidden = event.clientX < box.left || event.clientX > box.right;
  };

  canvas.addEventListener("pointerdown", (event) => {
    down.add(event.pointerId);
    if (state.tool !== "edit" || event.button !== 0 || event.shiftKey) return;
    if (down.size > 1) return cancelStroke();
    if (document.body.dataset.drawer) return; // this press closes the drawer, and the panes move
    const world = view.world(event.offsetX, event.offsetY);
    if (world) beginStroke(view.plane, world);
    showRing(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    showRing(event);
    if (down.size !== 1 || state.tool !== "edit") return;
    // A fast hand moves farther than one event tells.
    for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
      const world = view.world(one.offsetX, one.offsetY);
      if (world) goOn(world);
    }
  });
  const end = (event: PointerEvent) => {
    down.delete(event.pointerId);
    endStroke();
    showRing(event);
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", showRing);
}
