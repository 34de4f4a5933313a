// The HU along the last measure: linear between voxels, as a small plot.

import { distance, toVoxel, type Triple } from "./geometry";
import { valueAt, type Volume } from "./nifti";
import { make, type Measure } from "./state";

export interface Profile { mm: number[]; values: number[] }

const WIDE = 230;
const HIGH = 96;
const SVG = "http://www.w3.org/2000/svg";

/** Samples half the smallest spacing apart or closer; NaN where the line leaves the volume. */
export function profileOf(volume: Volume, { from, to }: Measure): Profile {
  const length = distance(from, to);
  const count = Math.max(2, Math.ceil(length / (Math.min(...volume.geometry.spacing) / 2)) + 1);
  const [start, end] = [from, to].map((world) => toVoxel(volume.geometry, world));
  const shares = Array.from({ length: count }, (_, i) => i / (count - 1));
  const values = shares.map((share) => linear(volume, start.map((at, axis) => at + share * (end[axis] - at)) as Triple));
  return { mm: shares.map((share) => share * length), values };
}

/** The value at a voxel coordinate, linear between the eight voxels around it. */
function linear(volume: Volume, at: Triple): number {
  const { shape } = volume.geometry;
  if (at.some((value, axis) => value < -0.5 || value > shape[axis] - 0.5)) return NaN;
  const inside = at.map((value, axis) => Math.min(Math.max(value, 0), shape[axis] - 1));
  const low = inside.map((value, axis) => Math.min(Math.floor(value), Math.max(shape[axis] - 2, 0)));
  let sum = 0;
  for (let corner = 0; corner < 8; corner++) {
    const up = [corner >> 2, (corner >> 1) & 1, corner & 1];
    const weight = up.reduce((product, one, axis) => product * (one ? inside[axis] - low[axis] : 1 - inside[axis] + low[axis]), 1);
    if (weight > 0) sum += weight * valueAt(volume, low.map((value, axis) => value + up[axis]) as Triple);
  }
  return sum;
}

/** The plot, and under it what the pointer is at. */
export function plot({ mm, values }: Profile, unit: string, color: string): HTMLElement[] {
  const known = values.filter((value) => !Number.isNaN(value));
  const digits = unit === "HU" ? 0 : 3;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const x = (at: number) => 2 + (mm[at] / (mm.at(-1) || 1)) * (WIDE - 4);
  const y = (value: number) => HIGH - 4 - ((value - low) / (high - low || 1)) * (HIGH - 8);
  const picture = shape("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${unit} along the measure` });
  const way = values.map((value, at) => (Number.isNaN(value) ? "" : `${at === 0 || Number.isNaN(values[at - 1]) ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`));
  const cursor = shape("line", { y1: "0", y2: String(HIGH), stroke: "currentColor", visibility: "hidden" });
  picture.append(shape("path", { d: way.join(""), fill: "none", stroke: color, "stroke-width": "1.5", "stroke-linejoin": "round" }), cursor);
  const scale = make("p", known.length ? `${low.toFixed(digits)} to ${high.toFixed(digits)} ${unit}, ${mm.at(-1)!.toFixed(1)} mm` : "outside the scan", "small");
  const reading = make("output", "point at the plot", "small number");
  reading.id = "profile-at";
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const wanted = ((event.clientX - box.left) / box.width) * WIDE;
    const at = Math.min(Math.max(Math.round(((wanted - 2) / (WIDE - 4)) * (mm.length - 1)), 0), mm.length - 1);
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(at).toFixed(1));
    cursor.setAttribute("visibility", "visible");
    reading.textContent = `${mm[at].toFixed(1)} mm: ${Number.isNaN(values[at]) ? "outside" : `${values[at].toFixed(digits)} ${unit}`}`;
  });
  const frame = make("div");
  frame.id = "profile";
  Object.assign(frame.dataset, { mm: mm.join(), values: values.join() });
  frame.append(picture);
  return [frame, scale, reading];
}

function shape(name: string, attributes: Record<string, string>): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
