// Two masks compared voxel by voxel on the grid of the shown scan: where they agree, where only one of them is.

import { planeAxes, toWorld, type PlaneName, type Triple } from "./geometry";
import type { Layer } from "./labels";
import type { Volume } from "./nifti";
import type { Color, Overlay } from "./slice";
import type { State } from "./state";

/** The labels of a compared volume, and their colors, which nothing else on the page has. */
export const AGREEMENT_COLORS: Record<"both" | "a" | "b", Color> = { both: [119, 255, 221], a: [221, 17, 0], b: [0, 119, 204] };
const [BOTH, ONLY_A, ONLY_B] = [1, 2, 3];

/** A mask that can be compared; it is null until its label map is loaded. */
export interface Mask { id: string; name: string; layer: Layer | null; volume: Volume | null; start: Triple; labels: number[] | null }

export interface Agreement {
  /** The labels BOTH, ONLY_A and ONLY_B in the box around both masks. */
  volume: Volume;
  start: Triple;
  ml: Record<"a" | "b" | "both" | "onlyA" | "onlyB", number>;
  /** NaN where both masks are empty. */
  dice: number;
}

/** All masks that a scan has: lungs and their sides, nodules, each label of each label map. */
export function masksOf({ lungs, noduleMask, layers }: Pick<State, "lungs" | "noduleMask" | "layers">): Mask[] {
  const start: Triple = [0, 0, 0];
  const found: Mask[] = [];
  if (lungs) {
    const sides = present(lungs);
    const whole = { layer: null, volume: lungs, start };
    found.push({ id: "lungs", name: "Lungs", ...whole, labels: [1, 2] });
    const named: [number, string, string][] = [[1, "right", "Right lung"], [2, "left", "Left lung"], [3, "airways", "Airways"]];
    if (sides.size > 1) found.push(...named.filter(([label]) => sides.has(label)).map(([label, id, name]): Mask => ({ id, name, ...whole, labels: [label] })));
  }
  if (noduleMask) found.push({ id: "nodules", name: "Nodules", layer: null, volume: noduleMask, start, labels: null });
  for (const layer of layers.filter(({ map, trouble }) => map.volume !== null && !trouble)) {
    const { map, volume } = layer;
    if (map.labels.length > 1) found.push({ id: `map:${map.name}`, name: `${map.name}, all labels`, layer, volume, start: layer.start, labels: null });
    for (const { name, value } of map.labels) {
      found.push({ id: `map:${map.name}:${value}`, name: name === map.name ? name : `${map.name}: ${name}`, layer, volume, start: layer.start, labels: [value] });
    }
  }
  return found;
}

const known = new WeakMap<Volume, Set<number>>();

function present(volume: Volume): Set<number> {
  let labels = known.get(volume);
  if (!labels) {
    const there = new Uint8Array(256);
    const { data } = volume;
    for (let i = 0; i < data.length; i++) there[data[i]] = 1; // an iterator takes ten times as long
    labels = new Set([...there.keys()].filter((label) => label > 0 && there[label]));
    known.set(volume, labels);
  }
  return labels;
}

/** Compare two masks whose volumes are loaded. */
export function compare(ct: Volume, a: Mask, b: Mask): Agreement {
  const boxes = [a, b].map(({ volume, start }) => ({ start, end: start.map((at, axis) => at + volume!.geometry.shape[axis]) }));
  const start = [0, 1, 2].map((axis) => Math.min(...boxes.map((box) => box.start[axis]))) as Triple;
  const end = [0, 1, 2].map((axis) => Math.max(...boxes.map((box) => box.end[axis])));
  const shape = end.map((at, axis) => at - start[axis]) as Triple;
  const data = new Uint8Array(shape[0] * shape[1] * shape[2]);
  const counts = { [BOTH]: 0, [ONLY_A]: 0, [ONLY_B]: 0 };
  each(a, start, shape, (at) => { data[at] = ONLY_A; counts[ONLY_A]++; });
  each(b, start, shape, (at) => {
    if (data[at] === ONLY_A) { data[at] = BOTH; counts[BOTH]++; counts[ONLY_A]--; } else { data[at] = ONLY_B; counts[ONLY_B]++; }
  });
  const [z, y, x] = ct.geometry.spacing;
  const ml = (voxels: number) => (voxels * z * y * x) / 1000;
  const [both, onlyA, onlyB] = [counts[BOTH], counts[ONLY_A], counts[ONLY_B]];
  const volume = { data, slope: 1, intercept: 0, geometry: { ...ct.geometry, shape, origin: toWorld(ct.geometry, start) } };
  return { volume, start, dice: (2 * both) / (2 * both + onlyA + onlyB),
    ml: { a: ml(both + onlyA), b: ml(both + onlyB), both: ml(both), onlyA: ml(onlyA), onlyB: ml(onlyB) } };
}

/** Call `found` with the place in a box of each voxel of a mask. */
function each({ volume, start, labels }: Mask, boxStart: Triple, box: Triple, found: (at: number) => void): void {
  const { data, geometry: { shape } } = volume!;
  const wanted = new Uint8Array(256).fill(labels ? 0 : 1, 1);
  for (const label of labels ?? []) wanted[label] = 1;
  const [dz, dy, dx] = start.map((at, axis) => at - boxStart[axis]);
  for (let z = 0, at = 0; z < shape[0]; z++) {
    for (let y = 0; y < shape[1]; y++) {
      const out = ((z + dz) * box[1] + y + dy) * box[2] + dx;
      for (let x = 0; x < shape[2]; x++, at++) if (wanted[data[at]]) found(out + x);
    }
  }
}

/** What the planes draw; the mask that is looked for must be seen, and so other masks are not drawn. */
export function agreementOverlay({ volume, start }: Agreement): Overlay {
  const colors = [null, AGREEMENT_COLORS.both, AGREEMENT_COLORS.a, AGREEMENT_COLORS.b];
  return { volume, start, color: (label) => colors[label] };
}

/** A place where the masks disagree, on the slice of a plane where they do most; null if they agree everywhere. */
export function largestDisagreement({ volume }: Agreement, plane: PlaneName): { world: Triple; voxels: number } | null {
  const { data, geometry: at } = volume;
  const { through } = planeAxes(at, plane);
  const counts = new Float64Array(at.shape[through]);
  const [, ny, nx] = at.shape;
  const place = (i: number): Triple => [Math.floor(i / (ny * nx)), Math.floor(i / nx) % ny, i % nx];
  for (let i = 0; i < data.length; i++) if (data[i] > BOTH) counts[place(i)[through]]++;
  const slice = counts.indexOf(Math.max(...counts));
  if (slice < 0 || counts[slice] === 0) return null;
  const voxels: Triple[] = [];
  for (let i = 0; i < data.length; i++) {
    if (data[i] <= BOTH) continue;
    const voxel = place(i);
    if (voxel[through] === slice) voxels.push(voxel);
  }
  const middle = [0, 1, 2].map((axis) => voxels.reduce((sum, voxel) => sum + voxel[axis], 0) / voxels.length);
  const away = (voxel: Triple) => Math.hypot(...voxel.map((value, axis) => (value - middle[axis]) * at.spacing[axis]));
  const nearest = voxels.reduce((best, voxel) => (away(voxel) < away(best) ? voxel : best));
  return { world: toWorld(at, nearest), voxels: counts[slice] };
}
