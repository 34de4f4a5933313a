// Voxel things are (z, y, x); world things are (x, y, z) in LPS millimeters.

export type Triple = [number, number, number];

/** Where a volume lies: `step[a]` is the world's way of one voxel along array axis a. */
export interface Geometry {
  shape: Triple;
  spacing: Triple;
  origin: Triple;
  step: [Triple, Triple, Triple];
  inverse: [Triple, Triple, Triple];
}

export type PlaneName = "axial" | "coronal" | "sagittal";

/** How a plane is cut and shown: the array axes across, down and through; the signs say which end is left or on top. */
export interface PlaneAxes {
  across: number;
  down: number;
  through: number;
  acrossSign: number;
  downSign: number;
  letters: { left: string; right: string; top: string; bottom: string };
}

export function geometry(shape: Triple, origin: Triple, step: [Triple, Triple, Triple]): Geometry {
  const spacing = step.map((way) => Math.hypot(...way)) as Triple;
  return { shape, spacing, origin, step, inverse: invert(step) };
}

export function toWorld(at: Geometry, voxel: Triple): Triple {
  return [0, 1, 2].map((w) => at.origin[w] + voxel[0] * at.step[0][w] + voxel[1] * at.step[1][w] + voxel[2] * at.step[2][w]) as Triple;
}

export function toVoxel(at: Geometry, world: Triple): Triple {
  const from = world.map((value, w) => value - at.origin[w]);
  return [0, 1, 2].map((a) => from[0] * at.inverse[0][a] + from[1] * at.inverse[1][a] + from[2] * at.inverse[2][a]) as Triple;
}

/** The nearest voxel, or null outside the volume. */
export function nearest(at: Geometry, world: Triple): Triple | null {
  const voxel = toVoxel(at, world).map(Math.round) as Triple;
  return voxel.every((value, axis) => value >= 0 && value < at.shape[axis]) ? voxel : null;
}

export function clampVoxel(at: Geometry, voxel: Triple): Triple {
  return voxel.map((value, axis) => Math.min(Math.max(Math.round(value), 0), at.shape[axis] - 1)) as Triple;
}

/** Rows of `inverse` are world axes, columns array axes: world difference times it gives voxels. */
function invert(m: [Triple, Triple, Triple]): [Triple, Triple, Triple] {
  const [[a, b, c], [d, e, f], [g, h, i]] = m;
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  if (!(Math.abs(det) > 1e-12)) throw new Error("the volume's axes do not span space");
  return [
    [(e * i - f * h) / det, (c * h - b * i) / det, (b * f - c * e) / det],
    [(f * g - d * i) / det, (a * i - c * g) / det, (c * d - a * f) / det],
    [(d * h - e * g) / det, (b * g - a * h) / det, (a * e - b * d) / det],
  ];
}

/** Which world axis (0 x, 1 y, 2 z) each array axis runs along, the best of the six ways to pair them. */
function pairing(at: Geometry): Triple {
  const ways: Triple[] = [[2, 1, 0], [2, 0, 1], [1, 2, 0], [1, 0, 2], [0, 1, 2], [0, 2, 1]];
  const along = (way: Triple) => way.reduce((sum, world, axis) => sum + Math.abs(at.step[axis][world]) / at.spacing[axis], 0);
  return ways.reduce((best, way) => (along(way) > along(best) + 1e-9 ? way : best));
}

/** World axes across, down, through; and the wanted sign: radiological convention, seen from the feet, the front, the left. */
const SHOWN: Record<PlaneName, { axes: Triple; signs: [number, number] }> = {
  axial: { axes: [0, 1, 2], signs: [1, 1] },
  coronal: { axes: [0, 2, 1], signs: [1, -1] },
  sagittal: { axes: [1, 2, 0], signs: [1, -1] },
};

export function planeAxes(at: Geometry, plane: PlaneName): PlaneAxes {
  const pairs = pairing(at);
  const { axes, signs } = SHOWN[plane];
  const [across, down, through] = axes.map((world) => pairs.indexOf(world));
  const acrossSign = Math.sign(at.step[across][axes[0]]) * signs[0] || 1;
  const downSign = Math.sign(at.step[down][axes[1]]) * signs[1] || 1;
  const right = at.step[across].map((value) => (value * acrossSign) / at.spacing[across]) as Triple;
  const bottom = at.step[down].map((value) => (value * downSign) / at.spacing[down]) as Triple;
  const opposite = (way: Triple) => letters(way.map((value) => -value) as Triple);
  return { across, down, through, acrossSign, downSign,
    letters: { left: opposite(right), right: letters(right), top: opposite(bottom), bottom: letters(bottom) } };
}

/** Towards which side of the patient a unit vector points; two letters where it is oblique (more than 15 degrees). */
export function letters(way: Triple): string {
  return way
    .map((value, axis) => ({ size: Math.abs(value), letter: ["RL", "AP", "FH"][axis][value > 0 ? 1 : 0] }))
    .filter((part) => part.size > 0.26)
    .sort((one, other) => other.size - one.size)
    .slice(0, 2)
    .map((part) => part.letter)
    .join("");
}

/** `a` and `sign` times `b`. */
export function add(a: Triple, b: Triple, sign = 1): Triple {
  return [a[0] + sign * b[0], a[1] + sign * b[1], a[2] + sign * b[2]];
}

export function distance(a: Triple, b: Triple): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}
