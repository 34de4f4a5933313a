// What mouse, pen and finger do on a plane: crosshair, slices, window, measure, pan; the wheel goes through the slices.

import { distance, type Triple } from "./geometry";
import { views, type PlaneView } from "./plane";
import { change, state, type State, type Tool } from "./state";
import { Fingers, STILL_PX } from "./touch";

type Drag = Tool | "pan";

/** A drag through the slices: so many pixels are one. */
const SLICE_PX = 6;

export function listen(view: PlaneView, redraw: () => void, maximize: (id: string) => void): void {
  const { canvas } = view;
  let drag: Drag | null = null;
  let last: [number, number] = [0, 0];
  let from: Triple | null = null;
  let rolled = 0;
  let pressed: [number, number] = [0, 0];
  let start: Partial<State> = {};
  let touched = -Infinity;
  const fingers = new Fingers(view, redraw, () => { if (state.tool !== "edit") maximize(view.section.id); });

  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerenter", () => change({ plane: view.plane, side: view.source }));
  canvas.addEventListener("pointerleave", () => change({ pointer: null }));
  canvas.addEventListener("dblclick", (event) => {
    // Fingers tap twice in a way of their own, and the browser may tell it as a double click too.
    if (event.timeStamp - touched > 1000 && (state.tool === "crosshair" || state.tool === "slices")) maximize(view.section.id);
  });

  canvas.addEventListener("pointerdown", (event) => {
    const world = view.world(event.offsetX, event.offsetY);
    if (!world) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    if (event.pointerType === "touch") touched = event.timeStamp;
    if (fingers.press(event)) {
      // What the first of two fingers did was not meant.
      if (drag === "crosshair" || drag === "window") change(start);
      if (from) finish(from);
      drag = from = null;
      return;
    }
    drag = event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : state.tool;
    last = [event.clientX, event.clientY];
    if (event.button === 1) event.preventDefault();
    rolled = 0;
    pressed = last;
    start = { crosshair: state.crosshair, offset: state.offset, center: state.center, width: state.width };
    if (drag === "crosshair") view.moveTo(world);
    if (drag === "measure" || drag === "circle") from = world;
  });

  canvas.addEventListener("pointermove", (event) => {
    const world = view.world(event.offsetX, event.offsetY);
    change({ pointer: world });
    if (fingers.move(event)) return;
    if (!drag || !world) return;
    const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
    last = [event.clientX, event.clientY];
    if (drag === "crosshair") view.moveTo(world);
    if (drag === "slices") {
      rolled -= dy / SLICE_PX;
      const count = Math.trunc(rolled);
      rolled -= count;
      go(view, count);
    }
    if (drag === "window") shiftWindow(dx, dy);
    if (drag === "pan") {
      const view_ = views[view.plane];
      const mm = view.millimeters();
      view_.pan = [view_.pan[0] + dx * mm, view_.pan[1] + dy * mm];
      redraw();
    }
    if (from) stretch(view, from, world, drag === "circle");
  });

  const end = (event: PointerEvent) => {
    if (event.pointerType === "touch") touched = event.timeStamp;
    fingers.lift(event);
    if (from) finish(from);
    if (drag === "slices" && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < STILL_PX) {
      const world = view.world(event.offsetX, event.offsetY);
      if (world) view.moveTo(world);
    }
    drag = from = null;
    if (canvas.hasPointerCapture(event.pointerId)) canvas.releasePointerCapture(event.pointerId);
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);

  let turned = 0;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    // A notch of a wheel is a slice; a trackpad's small steps add up to one.
    turned += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / 50 : event.deltaY;
    const count = Math.abs(event.deltaY) >= 50 && event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? Math.sign(turned) : Math.trunc(turned);
    if (count === 0) return;
    turned = 0;
    if (event.ctrlKey) return zoom(view, count > 0 ? 1 / 1.15 : 1.15, redraw);
    go(view, -count);
  }, { passive: false });
}

/** Go through the slices. */
export function go(view: PlaneView, count: number): void {
  const world = count === 0 ? null : view.step(count);
  if (world) view.moveTo(world);
}

/** To the right is wider, down is brighter (a lower center); the step grows with the width. */
function shiftWindow(dx: number, dy: number): void {
  const step = Math.max(state.width, 50) / 250;
  const width = Math.min(Math.max(state.width + dx * step, 1), 8000);
  const center = Math.min(Math.max(state.center + dy * step, -2000), 6000);
  change({ width: Math.round(width), center: Math.round(center) });
}

export function zoom(view: PlaneView, factor: number, redraw: () => void): void {
  const at = views[view.plane];
  at.zoom = Math.min(Math.max(at.zoom * factor, 0.5), 20);
  if (at.zoom <= 1) at.pan = [0, 0];
  redraw();
}

let stretching = false;

/** The measure under way is the last of the list. */
function stretch(view: PlaneView, from: Triple, to: Triple, circle: boolean): void {
  const kept = stretching ? state.measures.slice(0, -1) : state.measures;
  stretching = true;
  change({ measures: [...kept, { plane: view.plane, from, to, circle }] });
}

function finish(from: Triple): void {
  const last = state.measures.at(-1);
  if (stretching && last && distance(from, last.to) < 0.1) change({ measures: state.measures.slice(0, -1) });
  stretching = false;
}
