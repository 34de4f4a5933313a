// The outlines of masks on a slice: along the edges of their voxels, on the inner side, so that neighbors do not hide each other.

import type { PlaneAxes } from "./geometry";
import type { Overlay } from "./slice";

/** A straight piece of an outline in voxel coordinates: the edge at `line`, from `from` to `to`; the mask lies on side `inside`. */
interface Edge { label: number; across: boolean; line: number; inside: 1 | -1; from: number; to: number }

/** Draw the outlines of masks, `thick` pixels wide; `place` gives the pixel of a coordinate along the plane's axes. */
export function drawOutlines(paint: CanvasRenderingContext2D, overlays: Overlay[], axes: PlaneAxes, index: number, thick: number,
  place: (across: number, down: number) => [number, number]): void {
  for (const overlay of overlays) {
    const paths = new Map<number, Path2D>();
    for (const edge of edges(overlay, axes, index)) {
      const path = paths.get(edge.label) ?? new Path2D();
      paths.set(edge.label, path);
      const ends = edge.across ? [place(edge.from, edge.line), place(edge.to, edge.line)] : [place(edge.line, edge.from), place(edge.line, edge.to)];
      const [[x, y], [u, v]] = ends.map((end) => end.map(Math.round));
      const towards = edge.inside * (edge.across ? axes.downSign : axes.acrossSign) > 0 ? 0 : -thick;
      if (edge.across) path.rect(Math.min(x, u), y + towards, Math.max(Math.abs(u - x), thick), thick);
      else path.rect(x + towards, Math.min(y, v), thick, Math.max(Math.abs(v - y), thick));
    }
    for (const [label, path] of paths) {
      paint.fillStyle = `rgb(${overlay.color(label)!.join()})`;
      paint.fill(path);
    }
  }
}

function edges({ volume, start: corner = [0, 0, 0], color }: Overlay, axes: PlaneAxes, index: number): Edge[] {
  const { shape } = volume.geometry;
  const inner = index - corner[axes.through];
  if (inner < 0 || inner >= shape[axes.through]) return [];
  const strides = [shape[1] * shape[2], shape[2], 1];
  const found: Edge[] = [];
  const drawn: boolean[] = [];
  const isDrawn = (label: number) => (drawn[label] ??= label !== 0 && color(label) !== null);
  const along = (line: number, run: number, across: boolean) => {
    const [lines, length] = [shape[line], shape[run]];
    for (const inside of [1, -1] as const) {
      for (let k = 0; k < lines; k++) {
        const before = k - inside;
        const outside = before < 0 || before >= lines;
        let at = inner * strides[axes.through] + k * strides[line];
        const other = -inside * strides[line];
        let open = null as Edge | null;
        for (let i = 0; i < length; i++, at += strides[run]) {
          const label = volume.data[at];
          if (label === 0 || !isDrawn(label) || (!outside && volume.data[at + other] === label)) open = null;
          else if (open?.label === label) open.to++;
          else {
            const from = corner[run] + i - 0.5;
            found.push((open = { label, across, line: corner[line] + k - inside / 2, inside, from, to: from + 1 }));
          }
        }
      }
    }
  };
  along(axes.down, axes.across, true);
  along(axes.across, axes.down, false);
  return found;
}
