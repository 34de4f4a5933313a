// A smaller copy of a scan for the 3-D view: means of blocks of voxels, so that 144 MB become some 10.

import { geometry, type Triple } from "./geometry";
import { writeNifti, type Volume } from "./nifti";

const LONGEST = 224;
const AIR = -1024;

/** NIfTI of the means; with a mask, what lies outside it becomes air. Gives way to the page between slices. */
export async function reduced(ct: Volume, mask: Volume | null, stale: () => boolean): Promise<ArrayBuffer | null> {
  const from = ct.geometry;
  const size = from.shape.map((n, axis) => Math.max(1, Math.ceil((n * from.spacing[axis]) / longest(ct) - 1e-6))) as Triple;
  const shape = from.shape.map((n, axis) => Math.max(1, Math.floor(n / size[axis]))) as Triple;
  const out = new Int16Array(shape[0] * shape[1] * shape[2]);
  let since = performance.now();
  for (let z = 0; z < shape[0]; z++) {
    slab(ct, mask, size, shape, z, out);
    if (performance.now() - since > 12) {
      await new Promise((resume) => setTimeout(resume, 0));
      if (stale()) return null;
      since = performance.now();
    }
  }
  // The middle of the first block is half a block less half a voxel further on.
  const origin = from.origin.map((value, w) => value + from.step.reduce((sum, way, axis) => sum + way[w] * ((size[axis] - 1) / 2), 0)) as Triple;
  const step = from.step.map((way, axis) => way.map((value) => value * size[axis])) as [Triple, Triple, Triple];
  return writeNifti(geometry(shape, origin, step), out);
}

/** Millimeters that a voxel of the copy may have, so that no axis is longer than `LONGEST`. */
function longest(ct: Volume): number {
  const { shape, spacing } = ct.geometry;
  return Math.max(Math.min(...spacing), Math.max(...shape.map((n, axis) => n * spacing[axis])) / LONGEST);
}

function slab(ct: Volume, mask: Volume | null, size: Triple, shape: Triple, z: number, out: Int16Array): void {
  const [, ny, nx] = ct.geometry.shape;
  const [, rows, columns] = shape;
  const { data, slope, intercept } = ct;
  const count = size[0] * size[1] * size[2];
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      let sum = 0;
      for (let c = 0; c < size[0]; c++) {
        for (let b = 0; b < size[1]; b++) {
          const at = ((z * size[0] + c) * ny + y * size[1] + b) * nx + x * size[2];
          for (let a = 0; a < size[2]; a++) {
            sum += mask && !mask.data[at + a] ? (AIR - intercept) / slope : data[at + a];
          }
        }
      }
      out[(z * rows + y) * columns + x] = Math.round((slope * sum) / count + intercept);
    }
  }
}
