// What brush, eraser and fill do to the labels of a mask; every change is recorded, so that it can be undone.

import type { PlaneAxes, Triple } from "./geometry";

/** A change: for each run of voxels its first one, their number, and the label before and (times 256) after it. */
export type Step = Uint32Array;

/** A label that is put on voxels; with `only`, those of that label alone. */
export interface Ink { label: number; only: number | null }

/** Put a label on one voxel, and record it. */
function put(labels: Uint8Array, at: number, { label, only }: Ink, step: number[]): void {
  const before = labels[at];
  if (before === label || (only !== null && before !== only)) return;
  labels[at] = label;
  const change = before | (label << 8);
  const last = step.length - 3;
  if (last >= 0 && step[last + 2] === change && step[last] + step[last + 1] === at) step[last + 1]++;
  else step.push(at, 1, change);
}

/** Draw with a brush from one place to another (voxel coordinates): every voxel whose center is at most `radius` mm away
    from the line. Along the axis `through` only the slice counts; a ball has none. The voxel under the brush always counts. */
export function draw(labels: Uint8Array, shape: Triple, spacing: Triple, from: Triple, to: Triple, radius: number,
  through: number | null, ink: Ink, step: number[]): void {
  const sides = [0, 1, 2].map((axis) => {
    const reach = axis === through ? 0 : radius / spacing[axis];
    const [low, high] = axis === through ? [Math.round(to[axis]), Math.round(to[axis])]
      : [Math.ceil(Math.min(from[axis], to[axis]) - reach), Math.floor(Math.max(from[axis], to[axis]) + reach)];
    return [Math.max(low, 0), Math.min(high, shape[axis] - 1)];
  });
  const way = [0, 1, 2].map((axis) => (axis === through ? 0 : (to[axis] - from[axis]) * spacing[axis]));
  const length = way[0] ** 2 + way[1] ** 2 + way[2] ** 2;
  const mm = (axis: number, index: number) => (axis === through ? 0 : (index - from[axis]) * spacing[axis]);
  for (let z = sides[0][0]; z <= sides[0][1]; z++) {
    for (let y = sides[1][0]; y <= sides[1][1]; y++) {
      const [dz, dy] = [mm(0, z), mm(1, y)];
      const row = (z * shape[1] + y) * shape[2];
      for (let x = sides[2][0]; x <= sides[2][1]; x++) {
        const dx = mm(2, x);
        const share = length > 0 ? Math.min(Math.max((dz * way[0] + dy * way[1] + dx * way[2]) / length, 0), 1) : 0;
        const away = (dz - share * way[0]) ** 2 + (dy - share * way[1]) ** 2 + (dx - share * way[2]) ** 2;
        if (away <= radius * radius) put(labels, row + x, ink, step);
      }
    }
  }
  const under = to.map(Math.round) as Triple;
  if (under.every((at, axis) => at >= 0 && at < shape[axis])) put(labels, (under[0] * shape[1] + under[1]) * shape[2] + under[2], ink, step);
}

/** Fill the region of equal labels around a voxel of a slice. False, and nothing done, if it reaches the edge of the slice. */
export function fill(labels: Uint8Array, shape: Triple, at: Triple, { across, down }: PlaneAxes, label: number, step: number[]): boolean {
  const strides = [shape[1] * shape[2], shape[2], 1];
  const [wide, high] = [shape[across], shape[down]];
  const corner = at.reduce((sum, index, axis) => (axis === across || axis === down ? sum : sum + index * strides[axis]), 0);
  const place = (u: number, v: number) => corner + u * strides[across] + v * strides[down];
  const old = labels[place(at[across], at[down])];
  if (old === label) return true;
  const seen = new Uint8Array(wide * high);
  const stack = [at[down] * wide + at[across]];
  const region: number[] = [];
  seen[stack[0]] = 1;
  while (stack.length) {
    const here = stack.pop()!;
    const [u, v] = [here % wide, Math.floor(here / wide)];
    if (u === 0 || v === 0 || u === wide - 1 || v === high - 1) return false;
    region.push(place(u, v));
    for (const next of [here - 1, here + 1, here - wide, here + wide]) {
      if (seen[next] || labels[place(next % wide, Math.floor(next / wide))] !== old) continue;
      seen[next] = 1;
      stack.push(next);
    }
  }
  for (const one of region.sort((a, b) => a - b)) put(labels, one, { label, only: null }, step);
  return true;
}

/** Put the labels of runs (first voxel, number, label) on a mask. */
export function place(labels: Uint8Array, runs: Uint32Array, step: number[]): void {
  for (let i = 0; i < runs.length; i += 3) {
    for (let at = runs[i]; at < runs[i] + runs[i + 1]; at++) put(labels, at, { label: runs[i + 2], only: null }, step);
  }
}

/** Make a mask that of another array; what differs is recorded. */
export function become(labels: Uint8Array, other: Uint8Array, step: number[]): void {
  for (let at = 0; at < labels.length; at++) {
    if (labels[at] !== other[at]) put(labels, at, { label: other[at], only: null }, step);
  }
}

/** Take a step back, or do it again. */
export function apply(labels: Uint8Array, step: Step, back: boolean): void {
  for (let i = 0; i < step.length; i += 3) {
    labels.fill(back ? step[i + 2] & 255 : step[i + 2] >> 8, step[i], step[i] + step[i + 1]);
  }
}

/** A whole mask for the server: words of 32 bits, a label (8 bits) over a number of voxels (24 bits). */
export function pack(labels: Uint8Array): Uint32Array<ArrayBuffer> {
  let words = new Uint32Array(1 << 16);
  let count = 0;
  for (let at = 0; at < labels.length;) {
    const label = labels[at];
    const most = Math.min(labels.length, at + 0xffffff);
    const start = at++;
    while (at < most && labels[at] === label) at++;
    if (count === words.length) {
      const more = new Uint32Array(2 * count);
      more.set(words);
      words = more;
    }
    words[count++] = ((label << 24) | (at - start)) >>> 0;
  }
  return words.slice(0, count);
}
