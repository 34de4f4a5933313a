// The outlines of masks on a slice: along the edges of their voxels, on the inner side, so that neighbors do not hide each other.

import type { PlaneAxes } from "./geometry";
import type { Overlay } from "./slice";

/** Straight pieces of the outline of one color, in voxel coordinates of the plane, `PARTS` numbers each. */
export interface Outline { color: string; edges: number[] }

/** Of an edge: whether it runs across, the side on which the mask lies (1 or -1), where it is, from where to where it runs. */
const PARTS = 5;

/** The outlines of masks on a slice. */
export function outlinesOf(overlays: Overlay[], axes: PlaneAxes, index: number): Outline[] {
  return overlays.flatMap((overlay) => {
    const edges = edgesOf(overlay, axes, index);
    return [...edges].map(([label, found]) => ({ color: `rgb(${overlay.color(label)!.join()})`, edges: found }));
  });
}

/** Draw outlines `thick` pixels wide; `place` gives the pixel of a coordinate along the plane's axes. */
export function drawOutlines(paint: Pick<CanvasRenderingContext2D, "fillStyle" | "fillRect">, outlines: Outline[], axes: PlaneAxes, thick: number,
  place: (across: number, down: number) => [number, number]): void {
  for (const { color, edges } of outlines) {
    paint.fillStyle = color;
    for (let at = 0; at < edges.length; at += PARTS) {
      const [runsAcross, inside, line, from, to] = edges.slice(at, at + PARTS);
      const [x, y] = (runsAcross ? place(from, line) : place(line, from)).map(Math.round);
      const [u, v] = (runsAcross ? place(to, line) : place(line, to)).map(Math.round);
      const towards = inside * (runsAcross ? axes.downSign : axes.acrossSign) > 0 ? 0 : -thick;
      if (runsAcross) paint.fillRect(Math.min(x, u), y + towards, Math.max(Math.abs(u - x), thick), thick);
      else paint.fillRect(x + towards, Math.min(y, v), thick, Math.max(Math.abs(v - y), thick));
    }
  }
}

/** By label. */
function edgesOf({ volume, start: corner = [0, 0, 0], color }: Overlay, axes: PlaneAxes, index: number): Map<number, number[]> {
  const { data, geometry: { shape } } = volume;
  const found = new Map<number, number[]>();
  const inner = index - corner[axes.through];
  if (inner < 0 || inner >= shape[axes.through]) return found;
  const strides = [shape[1] * shape[2], shape[2], 1];
  const [rows, columns] = [shape[axes.down], shape[axes.across]];
  // The slice with a bare margin, so that each voxel has neighbors; values without a color are bare too.
  const wide = columns + 2;
  const plane = new Uint8Array(wide * (rows + 2));
  const drawn = Uint8Array.from({ length: 256 }, (_, label) => (label > 0 && color(label) ? label : 0));
  for (let row = 0; row < rows; row++) {
    let at = inner * strides[axes.through] + row * strides[axes.down];
    for (let out = (row + 1) * wide + 1, end = out + columns; out < end; out++, at += strides[axes.across]) plane[out] = drawn[data[at]];
  }
  const follow = (across: boolean, inside: 1 | -1) => {
    const [lines, length, line, run] = across ? [rows, columns, wide, 1] : [columns, rows, 1, wide];
    const [lineStart, runStart] = across ? [corner[axes.down], corner[axes.across]] : [corner[axes.across], corner[axes.down]];
    for (let k = 0; k < lines; k++) {
      let open = 0;
      for (let i = 0, at = wide + 1 + k * line; i <= length; i++, at += run) { // one beyond the last: it is bare
        const label = i < length && plane[at] !== plane[at - inside * line] ? plane[at] : 0;
        if (label === open) continue;
        if (open) found.get(open)!.push(runStart + i - 0.5);
        if (label) {
          if (!found.has(label)) found.set(label, []);
          found.get(label)!.push(Number(across), inside, lineStart + k - inside / 2, runStart + i - 0.5);
        }
        open = label;
      }
    }
  };
  for (const inside of [1, -1] as const) {
    follow(true, inside);
    follow(false, inside);
  }
  return found;
}
