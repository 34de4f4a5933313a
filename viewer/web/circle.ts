// A circle on a slice, and the HU of the voxels whose centers lie in it.

import { distance, planeAxes, toVoxel, type Triple } from "./geometry";
import { valueAt, type Volume } from "./nifti";
import type { Measure } from "./state";

export interface Statistics { mean: number; sd: number; min: number; max: number; area: number; voxels: number }

/** Of the slice that the circle was drawn on, also where a slab is shown; null if no voxel of it lies in the circle. */
export function statistics(volume: Volume, circle: Measure): Statistics | null {
  const { shape, spacing } = volume.geometry;
  const { across, down, through } = planeAxes(volume.geometry, circle.plane);
  const center = toVoxel(volume.geometry, circle.from);
  const radius = distance(circle.from, circle.to);
  const slice = Math.round(center[through]);
  if (slice < 0 || slice >= shape[through]) return null;
  const range = (axis: number) => [Math.max(0, Math.ceil(center[axis] - radius / spacing[axis])),
    Math.min(shape[axis] - 1, Math.floor(center[axis] + radius / spacing[axis]))];
  const [[top, bottom], [left, right]] = [range(down), range(across)];
  const values: number[] = [];
  const voxel: Triple = [slice, slice, slice];
  for (voxel[down] = top; voxel[down] <= bottom; voxel[down]++) {
    for (voxel[across] = left; voxel[across] <= right; voxel[across]++) {
      const away = Math.hypot((voxel[down] - center[down]) * spacing[down], (voxel[across] - center[across]) * spacing[across]);
      if (away <= radius) values.push(valueAt(volume, voxel));
    }
  }
  if (values.length === 0) return null;
  let [sum, squares, min, max] = [0, 0, Infinity, -Infinity];
  for (const value of values) {
    sum += value;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const mean = sum / values.length;
  for (const value of values) squares += (value - mean) ** 2;
  const area = values.length * spacing[across] * spacing[down];
  return { mean, sd: Math.sqrt(squares / values.length), min, max, area, voxels: values.length };
}
