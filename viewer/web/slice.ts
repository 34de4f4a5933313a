// One slice of a volume as pixels: gray by the window, colored where a mask has a label.

import type { PlaneAxes, Triple } from "./geometry";
import type { Volume, Voxels } from "./nifti";

export type Color = [number, number, number];

/** The colors of hilum's other previews: right lung, left lung, airways; the nodules' mask. */
export const LUNG_COLORS: Record<number, Color> = { 1: [86, 180, 233], 2: [230, 159, 0], 3: [0, 158, 115] };
export const NODULE_COLOR: Color = [240, 228, 66];

/** A mask on the voxels of the volume that is shown; it begins at voxel `start`, and may cover what is under it. */
export interface Overlay { volume: Volume; start?: Triple; covers?: boolean; color: (label: number) => Color | null }

/** Gray values of an int16's 65536 numbers, made anew only when the window or the rescale changes. */
export class Grays {
  private readonly table = new Uint8Array(65536);
  private made = "";

  of(volume: Volume, center: number, width: number): Uint8Array {
    const name = `${center} ${width} ${volume.slope} ${volume.intercept}`;
    if (name !== this.made) {
      const low = center - width / 2;
      for (let stored = -32768; stored < 32768; stored++) {
        const share = (volume.slope * stored + volume.intercept - low) / width;
        this.table[stored + 32768] = Math.round(255 * Math.min(Math.max(share, 0), 1));
      }
      this.made = name;
    }
    return this.table;
  }
}

interface Walk { columns: number; rows: number; start: number; right: number; down: number }

/** How a slice is walked through in memory, so that it comes out as it is shown. */
function walk(volume: Volume, axes: PlaneAxes, index: number): Walk {
  const { shape } = volume.geometry;
  const strides = [shape[1] * shape[2], shape[2], 1];
  const columns = shape[axes.across];
  const rows = shape[axes.down];
  const right = strides[axes.across] * axes.acrossSign;
  const down = strides[axes.down] * axes.downSign;
  let start = index * strides[axes.through];
  if (axes.acrossSign < 0) start += (columns - 1) * strides[axes.across];
  if (axes.downSign < 0) start += (rows - 1) * strides[axes.down];
  return { columns, rows, start, right, down };
}

/** Draw a slice, and the overlays on it. */
export function drawSlice(volume: Volume, axes: PlaneAxes, index: number, image: ImageData, grays: Grays,
  center: number, width: number, overlays: Overlay[], opacity: number): void {
  const { columns, rows, start, right, down } = walk(volume, axes, index);
  const pixels = new Uint32Array(image.data.buffer);
  const gray = grayOf(volume, grays, center, width);
  let out = 0;
  for (let row = 0; row < rows; row++) {
    let at = start + row * down;
    for (let column = 0; column < columns; column++, at += right) {
      pixels[out++] = 0xff000000 | (gray(at) * 0x010101);
    }
  }
  if (opacity <= 0) return;
  const bare = overlays.some(({ covers }) => covers) ? image.data.slice() : image.data;
  for (const overlay of overlays) blend(overlay, volume, axes, index, image, overlay.covers ? bare : image.data, opacity);
}

function grayOf(volume: Volume, grays: Grays, center: number, width: number): (at: number) => number {
  const data: Voxels = volume.data;
  if (data instanceof Int16Array) {
    const table = grays.of(volume, center, width);
    return (at) => table[data[at] + 32768];
  }
  const low = center - width / 2;
  return (at) => Math.round(255 * Math.min(Math.max((volume.slope * data[at] + volume.intercept - low) / width, 0), 1));
}

function blend({ volume, start: corner = [0, 0, 0], color: colorOf }: Overlay, over: Volume, axes: PlaneAxes, index: number,
  image: ImageData, under: Uint8ClampedArray, opacity: number): void {
  const inner = index - corner[axes.through];
  if (inner < 0 || inner >= volume.geometry.shape[axes.through]) return;
  const { columns, rows, start, right, down } = walk(volume, axes, inner);
  const first = (axis: number, sign: number, count: number) =>
    sign > 0 ? corner[axis] : over.geometry.shape[axis] - corner[axis] - count;
  const left = first(axes.across, axes.acrossSign, columns);
  const top = first(axes.down, axes.downSign, rows);
  const labels = volume.data;
  const bytes = image.data;
  const colors: (Color | null)[] = [];
  for (let row = 0; row < rows; row++) {
    let at = start + row * down;
    let out = 4 * ((top + row) * image.width + left);
    for (let column = 0; column < columns; column++, at += right, out += 4) {
      const label = labels[at];
      if (label === 0) continue;
      if (colors[label] === undefined) colors[label] = colorOf(label);
      const color = colors[label];
      if (!color) continue;
      for (let c = 0; c < 3; c++) bytes[out + c] = under[out + c] + (color[c] - under[out + c]) * opacity;
    }
  }
}
