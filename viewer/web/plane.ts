// One plane of one volume on a 2-D canvas: the slice, the masks, the rings, the lines and the letters.

import { agreementOverlay } from "./agreement";
import { add, nearest, planeAxes, toVoxel, toWorld, type PlaneAxes, type PlaneName, type Triple } from "./geometry";
import type { Volume } from "./nifti";
import { labelOverlays } from "./labels";
import { drawLines, drawMarks, INK, word, type Paper } from "./marks";
import { drawOutlines, outlinesOf, type Outline } from "./outline";
import { SLABS, slabOf, slabRange } from "./slab";
import { blankMissing, drawMasks, drawSlice, Grays, LUNG_COLORS, NODULE_COLOR, thinning, type Overlay } from "./slice";
import { change, element, make, shifted, state, type Side } from "./state";

/** Zoom and pan, shared by the same plane before and after; the pan is in screen millimeters. */
export const views: Record<PlaneName, { zoom: number; pan: [number, number] }> = {
  axial: { zoom: 1, pan: [0, 0] }, coronal: { zoom: 1, pan: [0, 0] }, sagittal: { zoom: 1, pan: [0, 0] },
};

export class PlaneView {
  readonly canvas = make("canvas");
  readonly section: HTMLElement;
  private readonly context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true })!;
  private readonly sheet = document.createElement("canvas");
  private readonly paper = this.sheet.getContext("2d", { alpha: false, willReadFrequently: true })!;
  private readonly grays = new Grays();
  private image: ImageData | null = null;
  /** The outlines of the slice that is on the sheet. */
  private outlines: Outline[] | null = null;
  /** The slice whose pixels are on the sheet. */
  private onSheet: number | null = null;
  private axesOf: Volume | null = null;
  private axes: PlaneAxes | null = null;

  constructor(readonly plane: PlaneName, readonly source: Side) {
    this.section = element(source === "ct" ? plane : `${plane}-beside`);
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${plane} plane`);
    this.section.append(this.canvas);
    new ResizeObserver(() => this.draw()).observe(this.section);
  }

  get volume(): Volume | null {
    return state[this.source] ?? (this.source === "ct" ? state.coming?.volume ?? null : null);
  }

  /** A place of the scan as a voxel coordinate of this volume, which may be shifted against it. */
  private voxel(volume: Volume, world: Triple): Triple {
    return toVoxel(volume.geometry, this.source === "beside" ? shifted(world) : world);
  }

  /** The place of the scan at a voxel coordinate. */
  private place(volume: Volume, voxel: Triple): Triple {
    const world = toWorld(volume.geometry, voxel);
    return this.source === "beside" ? add(world, state.offset, -1) : world;
  }

  /** Move the crosshair; where both volumes are not coupled, the other one stays. */
  moveTo(world: Triple): void {
    const way = add(world, state.crosshair, -1);
    if (state.coupled) change({ crosshair: world });
    else if (this.source === "beside") change({ offset: add(state.offset, way) });
    else change({ crosshair: world, offset: add(state.offset, way, -1) });
  }

  private way(volume: Volume): PlaneAxes {
    if (this.axesOf !== volume || !this.axes) {
      this.axes = planeAxes(volume.geometry, this.plane);
      this.axesOf = volume;
    }
    return this.axes;
  }

  /** Device pixels for a millimeter: the whole of the resampled scan fits at zoom 1. */
  private scale(): number {
    const whole = state.ct ?? this.volume!;
    const axes = planeAxes(whole.geometry, this.plane);
    const { shape, spacing } = whole.geometry;
    const fit = Math.min(this.canvas.width / (shape[axes.across] * spacing[axes.across]), this.canvas.height / (shape[axes.down] * spacing[axes.down]));
    return fit * views[this.plane].zoom;
  }

  /** What stands in the middle of the pane at pan 0: the middle of the resampled scan. */
  private middle(volume: Volume): Triple {
    const at = (state.ct ?? volume).geometry;
    return this.voxel(volume, toWorld(at, at.shape.map((n) => (n - 1) / 2) as Triple));
  }

  /** Where a voxel coordinate (z, y, x) is on the canvas, in device pixels. */
  private at(volume: Volume, voxel: Triple): [number, number] {
    const axes = this.way(volume);
    const { spacing } = volume.geometry;
    const middle = this.middle(volume);
    const [panX, panY] = views[this.plane].pan;
    const scale = this.scale();
    return [
      this.canvas.width / 2 + (axes.acrossSign * (voxel[axes.across] - middle[axes.across]) * spacing[axes.across] + panX) * scale,
      this.canvas.height / 2 + (axes.downSign * (voxel[axes.down] - middle[axes.down]) * spacing[axes.down] + panY) * scale,
    ];
  }

  /** The world's place under a point of the pane (CSS pixels), in the slice that is shown. */
  world(x: number, y: number): Triple | null {
    const volume = state[this.source]; // what is still coming has no values to point at
    if (!volume) return null;
    const axes = this.way(volume);
    const { spacing } = volume.geometry;
    const middle = this.middle(volume);
    const ratio = this.canvas.width / this.section.clientWidth;
    const [panX, panY] = views[this.plane].pan;
    const scale = this.scale();
    const voxel: Triple = [0, 0, 0];
    voxel[axes.across] = middle[axes.across] + (axes.acrossSign * ((x * ratio - this.canvas.width / 2) / scale - panX)) / spacing[axes.across];
    voxel[axes.down] = middle[axes.down] + (axes.downSign * ((y * ratio - this.canvas.height / 2) / scale - panY)) / spacing[axes.down];
    voxel[axes.through] = this.index(volume) ?? Math.round(this.voxel(volume, state.crosshair)[axes.through]);
    return this.place(volume, voxel);
  }

  /** Millimeters of the world for a CSS pixel. */
  millimeters(): number {
    return this.canvas.width / this.section.clientWidth / this.scale();
  }

  /** The slice through the crosshair, or null where this volume has none there. */
  private index(volume: Volume): number | null {
    const through = this.way(volume).through;
    const at = Math.round(this.voxel(volume, state.crosshair)[through]);
    return at >= 0 && at < volume.geometry.shape[through] ? at : null;
  }

  /** Where the slice is among all, counted the way that keys step: towards the head, the front and the right. */
  position(): { at: number; count: number } | null {
    const volume = this.volume;
    if (!volume) return null;
    const { through } = this.way(volume);
    const count = volume.geometry.shape[through];
    const index = Math.min(Math.max(Math.round(this.voxel(volume, state.crosshair)[through]), 0), count - 1);
    return { at: this.ahead(volume) > 0 ? index : count - 1 - index, count };
  }

  /** Whether keys step towards higher voxel indices, 1, or lower ones; the sign is that of the world, whatever the file's order. */
  private ahead(volume: Volume): number {
    const sign = Math.sign(volume.geometry.step[this.way(volume).through][{ axial: 2, coronal: 1, sagittal: 0 }[this.plane]]);
    return this.plane === "axial" ? sign : -sign;
  }

  /** Move the crosshair through the slices. */
  step(count: number): Triple | null {
    const volume = this.volume;
    if (!volume) return null;
    const { through } = this.way(volume);
    const voxel = this.voxel(volume, state.crosshair);
    voxel[through] = Math.min(Math.max(Math.round(voxel[through]) + count * this.ahead(volume), 0), volume.geometry.shape[through] - 1);
    return this.place(volume, voxel);
  }

  /** The pixels of slices changed. */
  forget(): void {
    this.onSheet = null;
  }

  draw(): void {
    const ratio = window.devicePixelRatio || 1;
    const wide = Math.round(this.section.clientWidth * ratio);
    const high = Math.round(this.section.clientHeight * ratio);
    if (wide === 0 || high === 0) return;
    if (this.canvas.width !== wide || this.canvas.height !== high) Object.assign(this.canvas, { width: wide, height: high });
    // A pane may begin or end between two pixels; its canvas does not, so that nothing is blurred.
    const box = this.section.getBoundingClientRect();
    Object.assign(this.canvas.style, {
      left: `${Math.round(box.left * ratio) / ratio - box.left}px`, top: `${Math.round(box.top * ratio) / ratio - box.top}px`,
      width: `${wide / ratio}px`, height: `${high / ratio}px`,
    });
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, wide, high);
    this.section.classList.toggle("active", state.plane === this.plane && this.source === state.side);
    const volume = this.volume;
    if (!volume) return;
    const index = this.index(volume);
    this.canvas.dataset.index = index === null ? "" : String(index);
    this.canvas.dataset.scale = String(this.scale());
    if (index !== null) {
      this.drawImage(volume, index);
      drawMarks(this.paperOf(volume, index, ratio));
    }
    if (state.lines) drawLines(this.context, this.at(volume, this.voxel(volume, state.crosshair)), ratio);
    this.drawWords(volume, index, ratio);
  }

  private paperOf(volume: Volume, index: number, ratio: number): Paper {
    const place = (world: Triple) => this.voxel(volume, world);
    return {
      context: this.context, plane: this.plane, volume, axes: this.way(volume), index, ratio, scale: this.scale(),
      voxel: place, at: (world) => this.at(volume, place(world)),
    };
  }

  private drawImage(volume: Volume, index: number): void {
    const axes = this.way(volume);
    const { shape } = volume.geometry;
    const [columns, rows] = [axes.across, axes.down].map((axis) => {
      const pixels = Math.ceil(shape[axis] * volume.geometry.spacing[axis] * this.scale());
      return Math.floor(shape[axis] / thinning(shape[axis], pixels));
    });
    if (this.image?.width !== columns || this.image.height !== rows) {
      Object.assign(this.sheet, { width: columns, height: rows });
      this.image = new ImageData(columns, rows);
      this.forget();
    }
    if (this.onSheet !== index) this.drawSheet(volume, axes, index, this.image);
    const first: Triple = [0, 0, 0];
    const last: Triple = [0, 0, 0];
    for (const [axis, sign, pixels] of [[axes.across, axes.acrossSign, columns], [axes.down, axes.downSign, rows]]) {
      first[axis] = sign > 0 ? -0.5 : shape[axis] - 0.5;
      last[axis] = first[axis] + sign * pixels * thinning(shape[axis], pixels);
    }
    const [left, top] = this.at(volume, first);
    const [right, bottom] = this.at(volume, last);
    this.context.imageSmoothingEnabled = state.smooth;
    this.context.drawImage(this.sheet, left, top, right - left, bottom - top);
    if (state.outline && state.masks) this.drawMaskOutlines(volume, axes, index);
  }

  /** Only a slice that was not drawn last: a crosshair that moves within two planes leaves their pixels as they are. */
  private drawSheet(volume: Volume, axes: PlaneAxes, index: number, image: ImageData): void {
    const isComing = state.coming?.volume === volume; // no slab of slices that are not here
    const slab = state.slab === "off" || isComing ? null : slabOf(volume, axes, index, state.slab, state.slabMm);
    drawSlice(slab ?? volume, axes, slab ? 0 : index, image, this.grays, state.center, state.invert ? -state.width : state.width);
    if (state.masks && !state.outline) drawMasks(this.overlays(), volume, axes, index, image, state.opacity);
    if (isComing) blankMissing(volume, axes, index, image, state.coming!.isHere);
    this.paper.putImageData(image, 0, 0);
    this.outlines = null;
    this.onSheet = index;
  }

  private overlays(): Overlay[] {
    if (this.source !== "ct") return [];
    if (state.agreement) return [agreementOverlay(state.agreement)];
    const found: Overlay[] = [];
    if (state.lungs) found.push({ volume: state.lungs, color: (label) => LUNG_COLORS[label] ?? null });
    found.push(...labelOverlays());
    if (state.noduleMask) found.push({ volume: state.noduleMask, color: () => NODULE_COLOR });
    return found;
  }

  private drawMaskOutlines(volume: Volume, axes: PlaneAxes, index: number): void {
    const [x, y] = this.at(volume, [0, 0, 0]);
    const [right, down] = this.at(volume, [1, 1, 1]);
    const place = (across: number, along: number): [number, number] => [x + across * (right - x), y + along * (down - y)];
    this.outlines ??= outlinesOf(this.overlays(), axes, index);
    drawOutlines(this.context, this.outlines, axes, Math.max(1, Math.round(window.devicePixelRatio)), place);
  }

  private drawWords(volume: Volume, index: number | null, ratio: number): void {
    const axes = this.way(volume);
    const { width, height } = this.canvas;
    const { left, right, top, bottom } = axes.letters;
    const place = index === null ? "outside" : `${"zyx"[axes.through]} ${index} of 0-${volume.geometry.shape[axes.through] - 1}`;
    const name = state.compare ? state.facts?.beside?.[this.source === "beside" ? 1 : 0] ?? "" : "";
    word(this.context, `${this.plane[0].toUpperCase()}${this.plane.slice(1)} ${name.length > 28 ? `${name.slice(0, 27)}…` : name}`, 8 * ratio, 15 * ratio, ratio);
    word(this.context, place, 8 * ratio, 31 * ratio, ratio);
    if (index !== null && state.slab !== "off" && !state.coming) {
      const [first, end] = slabRange(volume, axes, index, state.slabMm);
      word(this.context, `${SLABS[state.slab]} ${state.slabMm} mm, ${"zyx"[axes.through]} ${first}-${end - 1}`, 8 * ratio, 47 * ratio, ratio);
    }
    word(this.context, left, 8 * ratio, height / 2, ratio);
    word(this.context, right, width - 38 * ratio, height / 2, ratio, INK, "right");
    word(this.context, top, width / 2, 15 * ratio, ratio, INK, "center");
    word(this.context, bottom, width / 2, height - 8 * ratio, ratio, INK, "center");
    const bar = 50 * this.scale();
    this.context.fillStyle = INK;
    this.context.fillRect(width - 10 * ratio - bar, height - 8 * ratio, bar, 2 * ratio);
    word(this.context, "50 mm", width - 10 * ratio, height - 13 * ratio, ratio, INK, "right");
  }
}

/** The value shown for a place: HU of the nearest voxel, its place in the world and in the volume. */
export function reading(volume: Volume, world: Triple, value: (volume: Volume, voxel: Triple) => number, unit: string): string {
  const [x, y, z] = world.map((one) => one.toFixed(1));
  const voxel = nearest(volume.geometry, world);
  const number = voxel ? value(volume, voxel).toFixed(unit === "HU" ? 0 : 3) : "outside";
  return `${number}${voxel ? ` ${unit}` : ""}   x ${x}  y ${y}  z ${z} mm   voxel ${voxel ? `(${voxel.join(", ")})` : "none"}`;
}
