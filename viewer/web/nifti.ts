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

/** A NIfTI-1 file of a volume, for a library that takes nothing else. */
export function writeNifti(at: Geometry, data: Int16Array): ArrayBuffer {
  const file = new ArrayBuffer(352 + data.byteLength);
  const head = new DataView(file);
  head.setInt32(0, 348, true);
  const [nz, ny, nx] = at.shape;
  [3, nx, ny, nz, 1, 1, 1, 1].forEach((value, i) => head.setInt16(40 + 2 * i, value, true));
  head.setInt16(70, 4, true);
  head.setInt16(72, 16, true);
  [1, at.spacing[2], at.spacing[1], at.spacing[0]].forEach((value, i) => head.setFloat32(76 + 4 * i, value, true));
  head.setFloat32(108, 352, true);
  head.setFloat32(112, 1, true);
  head.setUint8(123, 2);
  head.setInt16(254, 1, true);
  for (let w = 0; w < 3; w++) {
    const sign = w < 2 ? -1 : 1;
    [at.step[2][w], at.step[1][w], at.step[0][w], at.origin[w]].forEach((value, c) => head.setFloat32(280 + 16 * w + 4 * c, sign * value, true));
  }
  [0x6e, 0x2b, 0x31, 0].forEach((byte, i) => head.setUint8(344 + i, byte));
  new Int16Array(file, 352).set(data);
  return file;
}
