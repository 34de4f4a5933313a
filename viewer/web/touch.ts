// Fingers on a plane: two of them zoom and move the picture, a double tap shows one pane alone.

import { views, type PlaneView } from "./plane";

type Point = [number, number];

const TWICE_MS = 350;
const TWICE_PX = 30;
/** A press that moved less is a tap. */
export const STILL_PX = 8;

/** What the fingers on a pane do; each method returns whether the event is dealt with. */
export class Fingers {
  private readonly down = new Map<number, Point>();
  private first: Point = [0, 0];
  private moved = false;
  private lastTap = { at: -Infinity, place: [0, 0] as Point };

  constructor(private readonly view: PlaneView, private readonly redraw: () => void, private readonly twice: () => void) {}

  /** A second finger ends what the first one did. */
  press(event: PointerEvent): boolean {
    if (event.pointerType !== "touch") return false;
    this.down.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (this.down.size === 1) [this.first, this.moved] = [[event.offsetX, event.offsetY], false];
    else this.moved = true;
    return this.down.size > 1;
  }

  move(event: PointerEvent): boolean {
    if (!this.down.has(event.pointerId)) return false;
    if (this.down.size === 1) {
      this.moved ||= far([event.offsetX, event.offsetY], this.first) > STILL_PX;
      this.down.set(event.pointerId, [event.offsetX, event.offsetY]);
      return false;
    }
    const before = pair(this.down);
    this.down.set(event.pointerId, [event.offsetX, event.offsetY]);
    const after = pair(this.down);
    if (before.apart > 0) pinch(this.view, before.middle, after.middle, after.apart / before.apart);
    this.redraw();
    return true;
  }

  /** The finger that is left after two does nothing more. */
  lift(event: PointerEvent): void {
    if (!this.down.delete(event.pointerId) || this.down.size > 0 || this.moved || event.type === "pointercancel") return;
    const place: Point = [event.offsetX, event.offsetY];
    const again = event.timeStamp - this.lastTap.at < TWICE_MS && far(place, this.lastTap.place) < TWICE_PX;
    this.lastTap = { at: again ? -Infinity : event.timeStamp, place };
    if (again) this.twice();
  }
}

function far(one: Point, other: Point): number {
  return Math.hypot(one[0] - other[0], one[1] - other[1]);
}

function pair(points: Map<number, Point>): { middle: Point; apart: number } {
  const [one, other] = [...points.values()];
  return { middle: [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2], apart: far(one, other) };
}

/** Zoom so that what was between the fingers stays between them. */
function pinch(view: PlaneView, from: Point, to: Point, factor: number): void {
  const at = views[view.plane];
  const zoomed = Math.min(Math.max(at.zoom * factor, 0.5), 20);
  const before = view.millimeters();
  const after = (before * at.zoom) / zoomed;
  const half = [view.section.clientWidth / 2, view.section.clientHeight / 2];
  at.pan = at.pan.map((pan, axis) => pan + (to[axis] - half[axis]) * after - (from[axis] - half[axis]) * before) as Point;
  at.zoom = zoomed;
}
