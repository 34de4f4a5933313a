// A smaller copy of a scan for the 3-D view: means of blocks of voxels, so that 144 MB become some 10.

import { erode, largestPiece } from "./carve";
import { geometry, type Geometry, type Triple } from "./geometry";
import { writeNifti, type Volume } from "./nifti";

const LONGEST = 224;
const AIR = -1024;

/** What is thinner than this, HU, is around the patient and not of the patient. */
const BODY_HU = -300;

export interface Reduced { geometry: Geometry; data: Int16Array }

/** The means of blocks. Gives way to the page between slices; null where the scan was left meanwhile. */
export async function reduced(ct: Volume, stale: () => boolean): Promise<Reduced | null> {
  const { size, at } = blocks(ct);
  const out = new Int16Array(at.shape[0] * at.shape[1] * at.shape[2]);
  let since = performance.now();
  for (let z = 0; z < at.shape[0]; z++) {
    slab(ct, size, at.shape, z, out);
    if (performance.now() - since > 12) {
      await new Promise((resume) => setTimeout(resume, 0));
      if (stale()) return null;
      since = performance.now();
    }
  }
  return { geometry: at, data: out };
}

/** NIfTI of the patient without the table, and without what else is no part of the largest piece. */
export function ofBody(small: Reduced): ArrayBuffer {
  const solid = Uint8Array.from(small.data, (hu) => (hu > BODY_HU ? 1 : 0));
  return cut(small, largestPiece(solid, small.geometry.shape));
}

/** NIfTI of what lies in the lungs, some millimeters away from their surface. */
export function ofLungs(small: Reduced, ct: Volume, lungs: Volume, margin: number): ArrayBuffer {
  const { size, at } = blocks(ct);
  const [nz, ny, nx] = at.shape;
  const [, rows, columns] = ct.geometry.shape;
  const inside = new Uint8Array(small.data.length);
  let out = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      const from = ((z * size[0] + (size[0] >> 1)) * rows + y * size[1] + (size[1] >> 1)) * columns + (size[2] >> 1);
      for (let x = 0; x < nx; x++) inside[out++] = lungs.data[from + x * size[2]] ? 1 : 0;
    }
  }
  return cut(small, erode(inside, at.shape, Math.round(margin / Math.max(...at.spacing))));
}

function cut(small: Reduced, kept: Uint8Array): ArrayBuffer {
  return writeNifti(small.geometry, small.data.map((hu, i) => (kept[i] ? hu : AIR)));
}

/** How many voxels go into one, and the grid of what comes out: about cubes, no axis longer than `LONGEST`. */
function blocks(ct: Volume): { size: Triple; at: Geometry } {
  const { shape, spacing, origin, step } = ct.geometry;
  const wanted = Math.max(Math.min(...spacing), Math.max(...shape.map((n, axis) => n * spacing[axis])) / LONGEST);
  const size = shape.map((n, axis) => Math.min(n, Math.max(1, Math.round(wanted / spacing[axis])))) as Triple;
  const less = shape.map((n, axis) => Math.floor(n / size[axis])) as Triple;
  // The middle of the first block is half a block less half a voxel further on.
  const first = origin.map((value, w) => value + step.reduce((sum, way, axis) => sum + way[w] * ((size[axis] - 1) / 2), 0)) as Triple;
  return { size, at: geometry(less, first, step.map((way, axis) => way.map((value) => value * size[axis])) as [Triple, Triple, Triple]) };
}

function slab(ct: Volume, size: Triple, shape: Triple, z: number, out: Int16Array): void {
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
          for (let a = 0; a < size[2]; a++) sum += data[at + a];
        }
      }
      out[(z * rows + y) * columns + x] = Math.round((slope * sum) / count + intercept);
    }
  }
}
