// What a small binary volume is cut with: erosion, and its largest piece. Neighbors are the six at a face.

import type { Triple } from "./geometry";

/** Take off what has a face to the outside, so many times over. */
export function erode(mask: Uint8Array, shape: Triple, times: number): Uint8Array {
  const [nz, ny, nx] = shape;
  const [up, down] = [ny * nx, nx];
  let now = mask;
  for (let turn = 0; turn < times; turn++) {
    const next = new Uint8Array(now.length);
    for (let z = 1; z < nz - 1; z++) {
      for (let y = 1; y < ny - 1; y++) {
        const row = z * up + y * down;
        for (let i = row + 1; i < row + nx - 1; i++) {
          next[i] = now[i] & now[i - 1] & now[i + 1] & now[i - down] & now[i + down] & now[i - up] & now[i + up];
        }
      }
    }
    now = next;
  }
  return now;
}

/** The largest connected piece, as a mask. */
export function largestPiece(mask: Uint8Array, shape: Triple): Uint8Array {
  const label = new Uint32Array(mask.length);
  const waiting = new Uint32Array(mask.length);
  let pieces = 0;
  let [best, most] = [0, 0];
  for (let seed = 0; seed < mask.length; seed++) {
    if (!mask[seed] || label[seed]) continue;
    const count = fill(mask, shape, seed, ++pieces, label, waiting);
    if (count > most) [best, most] = [pieces, count];
  }
  return mask.map((_, i) => (best && label[i] === best ? 1 : 0));
}

function fill(mask: Uint8Array, shape: Triple, seed: number, name: number, label: Uint32Array, waiting: Uint32Array): number {
  const [nz, ny, nx] = shape;
  const up = ny * nx;
  let [read, written] = [0, 1];
  waiting[0] = seed;
  label[seed] = name;
  const visit = (i: number) => {
    if (mask[i] && !label[i]) {
      label[i] = name;
      waiting[written++] = i;
    }
  };
  while (read < written) {
    const i = waiting[read++];
    const x = i % nx;
    const y = Math.floor(i / nx) % ny;
    if (x > 0) visit(i - 1);
    if (x < nx - 1) visit(i + 1);
    if (y > 0) visit(i - nx);
    if (y < ny - 1) visit(i + nx);
    if (i >= up) visit(i - up);
    if (i < up * (nz - 1)) visit(i + up);
  }
  return written;
}
