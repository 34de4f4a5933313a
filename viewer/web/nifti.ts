// The little of NIfTI-1 that hilum's server writes: one little-endian file, three dimensions, an sform.

import { geometry, type Geometry, type Triple } from "./geometry";

export type Voxels = Int16Array | Uint8Array | Float32Array;

export interface Volume {
  geometry: Geometry;
  /** Stored numbers; HU = slope * stored + intercept. */
  data: Voxels;
  slope: number;
  intercept: number;
}

const KINDS: Record<number, { new (buffer: ArrayBuffer, at: number, length: number): Voxels; BYTES_PER_ELEMENT: number }> = {
  2: Uint8Array, 4: Int16Array, 16: Float32Array,
};

export function readNifti(file: ArrayBuffer): Volume {
  const head = new DataView(file);
  if (file.byteLength < 352 || head.getInt32(0, true) !== 348) throw new Error("what came is not a NIfTI-1 volume");
  const kind = KINDS[head.getInt16(70, true)];
  if (!kind || head.getInt16(40, true) !== 3) throw new Error("the volume is of a kind that this page does not show");
  const [nx, ny, nz] = [42, 44, 46].map((at) => head.getInt16(at, true));
  const start = head.getFloat32(108, true);
  const count = nx * ny * nz;
  if (!(count > 0) || start + count * kind.BYTES_PER_ELEMENT > file.byteLength) throw new Error("the volume came cut short");
  // A typed array must begin at a multiple of its element's size.
  const data = start % kind.BYTES_PER_ELEMENT ? new kind(file.slice(start), 0, count) : new kind(file, start, count);
  const slope = head.getFloat32(112, true);
  return { geometry: sform(head, [nz, ny, nx]), data, slope: slope || 1, intercept: slope ? head.getFloat32(116, true) : 0 };
}

/** RAS of the file to the LPS of the page: x and y change their sign. */
function sform(head: DataView, shape: Triple): Geometry {
  const row = (w: number) => [0, 1, 2, 3].map((column) => head.getFloat32(280 + 16 * w + 4 * column, true) * (w < 2 ? -1 : 1));
  const rows = [row(0), row(1), row(2)];
  const column = (c: number) => rows.map((r) => r[c]) as Triple;
  return geometry(shape, column(3), [column(2), column(1), column(0)]);
}

export function valueAt(volume: Volume, voxel: Triple): number {
  const [, ny, nx] = volume.geometry.shape;
  return volume.slope * volume.data[(voxel[0] * ny + voxel[1]) * nx + voxel[2]] + volume.intercept;
}
