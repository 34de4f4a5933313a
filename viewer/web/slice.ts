// One slice of a volume as pixels: gray by the window, colored where a mask has a label.

import type { PlaneAxes, Triple } from "./geometry";
import type { Volume } from "./nifti";

export type Color = [number, number, number];

/** The colors of hilum's other previews: right lung, left lung, airways; the nodules' mask. */
export const LUNG_COLORS: Record<number, Color> = { 1: [86, 180, 233], 2: [230, 159, 0], 3: [0, 158, 115] };
export const NODULE_COLOR: Color = [240, 228, 66];

/** A mask on the voxels of the volume that is shown; it begins at voxel `start`, and may cover what is under it. */
export interface Overlay { volume: Volume; start?: Triple; covers?: boolean; color: (label: number) => Color | null }

/** Gray pixels of an int16's 65536 numbers, made anew only when the window or the rescale changes. */
export class Grays {
  private readonly table = new Uint32Array(65536);
  private made = "";

  of(volume: Volume, center: number, width: number): Uint32Array {
    const name = `${center} ${width} ${volume.slope} ${volume.intercept}`;
    if (name !== this.made) {
      const low = center - width / 2;
      for (let stored = -32768; stored < 32768; stored++) {
        const share = (volume.slope * stored + volume.intercept - low) / width;
        this.table[stored + 32768] = gray(share);
      }
      this.made = name;
    }
    return this.table;
  }
}

/** An opaque pixel between black, 0, and white, 1. */
function gray(share: number): number {
  return 0xff000000 | (Math.round(255 * Math.min(Math.max(share, 0), 1)) * 0x010101);
}

/** Pixels [left, right) x [top, bottom) of a picture; the voxel of pixel (0, 0) in memory, and the ways to the next ones. */
interface Walk { left: number; right: number; top: number; bottom: number; start: number; across: number; down: number }

/** Of so many voxels in a row, one is drawn: where a picture has fewer pixels than the slice has voxels. */
export function thinning(voxels: number, pixels: number): number {
  return Math.max(1, Math.floor(voxels / Math.max(pixels, 1)));
}

/** How a slice of a volume, or of a box in it that begins at `corner`, is walked through, so that it comes out as shown. */
function walk(box: Triple, whole: Triple, corner: Triple, axes: PlaneAxes, index: number, image: ImageData): Walk {
  const strides = [box[1] * box[2], box[2], 1];
  const along = (axis: number, sign: number, pixels: number) => {
    const every = thinning(whole[axis], pixels);
    // The middle one of so many voxels; it lies before the box where it is negative.
    const first = (every >> 1) - (sign > 0 ? corner[axis] : whole[axis] - corner[axis] - box[axis]);
    return {
      from: Math.max(0, Math.ceil(-first / every)), to: Math.min(pixels, Math.ceil((box[axis] - first) / every)),
      start: (sign > 0 ? first : box[axis] - 1 - first) * strides[axis], by: every * sign * strides[axis],
    };
  };
  const across = along(axes.across, axes.acrossSign, image.width);
  const down = along(axes.down, axes.downSign, image.height);
  const start = (index - corner[axes.through]) * strides[axes.through] + across.start + down.start;
  return { left: across.from, right: across.to, top: down.from, bottom: down.to, start, across: across.by, down: down.by };
}

/** Draw a slice. */
export function drawSlice(volume: Volume, axes: PlaneAxes, index: number, image: ImageData, grays: Grays,
  center: number, width: number): void {
  const { data, geometry: { shape } } = volume;
  const { start, across, down } = walk(shape, shape, [0, 0, 0], axes, index, image);
  const pixels = new Uint32Array(image.data.buffer);
  const table = data instanceof Int16Array ? grays.of(volume, center, width) : null;
  const low = center - width / 2;
  for (let out = 0, row = 0; row < image.height; row++) {
    let at = start + row * down;
    const end = out + image.width;
    if (table) for (; out < end; out++, at += across) pixels[out] = table[data[at] + 32768];
    else for (; out < end; out++, at += across) pixels[out] = gray((volume.slope * data[at] + volume.intercept - low) / width);
  }
}

/** Fill masks over what is drawn of a slice of `volume`. */
export function drawMasks(overlays: Overlay[], volume: Volume, axes: PlaneAxes, index: number, image: ImageData, opacity: number): void {
  if (opacity <= 0) return;
  const pixels = new Uint32Array(image.data.buffer);
  const bare = overlays.some(({ covers }) => covers) ? pixels.slice() : pixels;
  for (const overlay of overlays) blend(overlay, volume.geometry.shape, axes, index, image, overlay.covers ? bare : pixels, opacity);
}

/** Make black what lies in slices, along the first axis, that are not here: all of a picture, or whole rows or columns. */
export function blankMissing(volume: Volume, axes: PlaneAxes, index: number, image: ImageData, isHere: (slice: number) => boolean): void {
  const { shape } = volume.geometry;
  const stride = shape[1] * shape[2];
  const { start, across, down } = walk(shape, shape, [0, 0, 0], axes, index, image);
  const pixels = new Uint32Array(image.data.buffer);
  const missing = (row: number, column: number) => !isHere(Math.floor((start + row * down + column * across) / stride));
  const { width, height } = image;
  if (axes.across === 0) {
    for (let column = 0; column < width; column++) {
      if (missing(0, column)) for (let row = 0; row < height; row++) pixels[row * width + column] = 0xff000000;
    }
  } else {
    for (let row = 0; row < height; row++) if (missing(row, 0)) pixels.fill(0xff000000, row * width, (row + 1) * width);
  }
}

/** What becomes of the 256 values of red, green and blue under a color. */
function mixed(color: Color, opacity: number): Uint8ClampedArray {
  return Uint8ClampedArray.from({ length: 768 }, (_, i) => (i & 255) + (color[i >> 8] - (i & 255)) * opacity);
}

function blend({ volume, start: corner = [0, 0, 0], color: colorOf }: Overlay, whole: Triple, axes: PlaneAxes, index: number,
  image: ImageData, under: Uint32Array, opacity: number): void {
  const box = volume.geometry.shape;
  if (index < corner[axes.through] || index >= corner[axes.through] + box[axes.through]) return;
  const { left, right, top, bottom, start, across, down } = walk(box, whole, corner, axes, index, image);
  const labels = volume.data;
  const pixels = new Uint32Array(image.data.buffer);
  const tables: (Uint8ClampedArray | null)[] = [];
  for (let row = top; row < bottom; row++) {
    let at = start + row * down + left * across;
    const end = row * image.width + right;
    for (let out = row * image.width + left; out < end; out++, at += across) {
      const label = labels[at];
      if (label === 0) continue;
      if (tables[label] === undefined) {
        const color = colorOf(label);
        tables[label] = color && mixed(color, opacity);
      }
      const table = tables[label];
      if (!table) continue;
      const pixel = under[out];
      pixels[out] = 0xff000000 | (table[512 + ((pixel >> 16) & 255)] << 16) | (table[256 + ((pixel >> 8) & 255)] << 8) | table[pixel & 255];
    }
  }
}
