// A slab of slices drawn as one: the maximum, mean or minimum through it.

import type { PlaneAxes } from "./geometry";
import type { Volume } from "./nifti";

export type Slab = "off" | "mip" | "mean" | "minip";

/** What the planes call a slab, in the order of its key. */
export const SLABS: Record<Slab, string> = { off: "One slice", mip: "MIP", mean: "Mean", minip: "MinIP" };

/** The slices whose centers are at most half the thickness away from the one that is shown: first, and one beyond the last. */
export function slabRange(volume: Volume, axes: PlaneAxes, index: number, mm: number): [number, number] {
  const { shape, spacing } = volume.geometry;
  const reach = Math.floor(mm / 2 / spacing[axes.through] + 1e-6);
  return [Math.max(0, index - reach), Math.min(shape[axes.through], index + reach + 1)];
}

/** A volume of one slice, of all slices of the slab. */
export function slabOf(volume: Volume, axes: PlaneAxes, index: number, kind: Exclude<Slab, "off">, mm: number): Volume {
  const { geometry, data } = volume;
  const [first, end] = slabRange(volume, axes, index, mm);
  const shape = [...geometry.shape] as typeof geometry.shape;
  shape[axes.through] = 1;
  const strides = [geometry.shape[1] * geometry.shape[2], geometry.shape[2], 1];
  const [outer, inner] = [0, 1, 2].filter((axis) => axis !== axes.through);
  const size = shape[outer] * shape[inner];
  // The greatest HU are the least stored numbers where the slope is negative.
  const greatest = (kind === "mip") === volume.slope > 0;
  const made = kind === "mean" ? new Float32Array(size) : data.slice(0, size);
  const step = strides[axes.through];
  for (let row = 0, out = 0; row < shape[outer]; row++) {
    const from = out;
    const start = row * strides[outer] + first * step;
    const stop = from + shape[inner];
    const next = strides[inner];
    // Slice by slice, so that memory is read in its order; along the last axis, all of a pixel at once.
    if (step === 1) {
      for (let at = start; out < stop; out++, at += next) {
        let value = data[at];
        if (kind === "mean") for (let k = 1; k < end - first; k++) value += data[at + k];
        else if (greatest) for (let k = 1; k < end - first; k++) value = data[at + k] > value ? data[at + k] : value;
        else for (let k = 1; k < end - first; k++) value = data[at + k] < value ? data[at + k] : value;
        made[out] = value;
      }
    } else {
      for (let k = first, begin = start; k < end; k++, begin += step) {
        out = from;
        if (k === first) for (let at = begin; out < stop; out++, at += next) made[out] = data[at];
        else if (kind === "mean") for (let at = begin; out < stop; out++, at += next) made[out] += data[at];
        else if (greatest) for (let at = begin; out < stop; out++, at += next) { if (data[at] > made[out]) made[out] = data[at]; }
        else for (let at = begin; out < stop; out++, at += next) { if (data[at] < made[out]) made[out] = data[at]; }
      }
    }
  }
  if (kind === "mean") for (let out = 0; out < size; out++) made[out] /= end - first;
  return { ...volume, data: made, geometry: { ...geometry, shape } };
}
