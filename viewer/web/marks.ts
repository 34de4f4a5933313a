// What is drawn over a slice: rings of nodules, marks of a detector, measures, the lines of the crosshair, and words.

import type { Detection, Nodule } from "./api";
import { statistics } from "./circle";
import { DETECTION, isShown, radiusOf, shownProbability } from "./detections";
import { distance, type PlaneAxes, type PlaneName, type Triple } from "./geometry";
import type { Volume } from "./nifti";
import { state, type Measure } from "./state";

export const INK = "#e6edf3";
const LINE = "#5fd0a8";
const RING = "#f0e442";
const MEASURE = "#ff9bd2";

/** A slice of a volume on a canvas. */
export interface Paper {
  context: CanvasRenderingContext2D;
  plane: PlaneName;
  volume: Volume;
  axes: PlaneAxes;
  index: number;
  /** Device pixels for a CSS pixel, and for a millimeter. */
  ratio: number;
  scale: number;
  /** A place of the scan as a voxel coordinate (z, y, x) of the volume, and in device pixels on the canvas. */
  voxel: (world: Triple) => Triple;
  at: (world: Triple) => [number, number];
}

export function drawMarks(paper: Paper): void {
  if (state.rings) state.facts?.nodules.forEach((nodule) => drawRing(paper, nodule));
  if (state.rings) state.facts?.detections?.filter(isShown).forEach((detection) => drawDetection(paper, detection));
  state.measures.forEach((measure) => drawMeasure(paper, measure));
}

/** How far a place lies outside the slice, mm. The slice is as thick as its spacing. */
function awayFrom({ axes, index, volume, voxel }: Paper, world: Triple): number {
  return Math.max(0, Math.abs(voxel(world)[axes.through] - index) - 0.5) * volume.geometry.spacing[axes.through];
}

/** The sphere of a nodule, cut by this slice: the widest cut within it. */
function drawRing(paper: Paper, nodule: Nodule): void {
  const { context, ratio, scale } = paper;
  const away = awayFrom(paper, nodule.world);
  const radius = nodule.diameter_mm / 2;
  if (!(away < radius)) return;
  const [x, y] = paper.at(nodule.world);
  context.strokeStyle = RING;
  context.lineWidth = (state.nodule?.label === nodule.label ? 2 : 1) * ratio;
  context.beginPath();
  context.arc(x, y, Math.sqrt(radius ** 2 - away ** 2) * scale, 0, 2 * Math.PI);
  context.stroke();
}

/** A diamond as wide as the mark, with its probability; as thick as a ring. */
function drawDetection(paper: Paper, detection: Detection): void {
  const { context, ratio, scale } = paper;
  if (!(awayFrom(paper, detection.world) < radiusOf(detection))) return;
  const [x, y] = paper.at(detection.world);
  const half = Math.max(radiusOf(detection) * scale, 5 * ratio);
  context.strokeStyle = DETECTION;
  context.lineWidth = (state.detection === detection ? 2.5 : 1.25) * ratio;
  context.beginPath();
  context.moveTo(x, y - half);
  for (const [a, b] of [[x + half, y], [x, y + half], [x - half, y]]) context.lineTo(a, b);
  context.closePath();
  context.stroke();
  word(context, shownProbability(detection), x + half + 3 * ratio, y + 4 * ratio, ratio, DETECTION);
}

function drawMeasure(paper: Paper, measure: Measure): void {
  const { context, ratio, axes, index } = paper;
  if (measure.plane !== paper.plane) return;
  const ends = [measure.from, measure.to];
  if (ends.some((world) => Math.abs(paper.voxel(world)[axes.through] - index) > 0.51)) return;
  const [[x, y], [u, v]] = ends.map(paper.at);
  context.strokeStyle = MEASURE;
  context.lineWidth = 1.5 * ratio;
  context.beginPath();
  if (measure.circle) context.arc(x, y, Math.hypot(u - x, v - y), 0, 2 * Math.PI);
  else context.moveTo(x, y);
  if (!measure.circle) context.lineTo(u, v);
  context.stroke();
  if (measure.circle) return drawStatistics(paper, measure, [x, y, Math.hypot(u - x, v - y)]);
  for (const [a, b] of [[x, y], [u, v]]) context.strokeRect(a - 3 * ratio, b - 3 * ratio, 6 * ratio, 6 * ratio);
  word(context, `${distance(measure.from, measure.to).toFixed(1)} mm`, u + 8 * ratio, v - 8 * ratio, ratio, MEASURE);
}

/** Under the circle, of this pane's own volume. */
function drawStatistics({ context, ratio, volume }: Paper, circle: Measure, [x, y, radius]: number[]): void {
  const found = statistics(volume, circle);
  if (!found) return;
  const digits = Math.abs(found.mean) + found.sd < 10 ? 3 : 0;
  const [mean, sd, min, max] = [found.mean, found.sd, found.min, found.max].map((value) => value.toFixed(digits));
  [`${mean} ± ${sd}`, `${min} to ${max}`, `${found.area.toFixed(0)} mm², ${found.voxels} voxels`].forEach((text, line) =>
    word(context, text, x, y + radius + (14 + 15 * line) * ratio, ratio, MEASURE, "center"));
}

export function drawLines(context: CanvasRenderingContext2D, [x, y]: [number, number], ratio: number): void {
  const { width, height } = context.canvas;
  const gap = 14 * ratio;
  context.strokeStyle = LINE;
  context.lineWidth = ratio;
  context.globalAlpha = 0.7;
  context.beginPath();
  for (const [a, b, c, d] of [[0, y, x - gap, y], [x + gap, y, width, y], [x, 0, x, y - gap], [x, y + gap, x, height]]) {
    context.moveTo(a, b);
    context.lineTo(c, d);
  }
  context.stroke();
  context.globalAlpha = 1;
}

export function word(context: CanvasRenderingContext2D, text: string, x: number, y: number, ratio: number, color = INK,
  align: CanvasTextAlign = "left"): void {
  context.font = `${12 * ratio}px system-ui, "DejaVu Sans", sans-serif`;
  context.textAlign = align;
  context.lineWidth = 3 * ratio;
  context.strokeStyle = "#000";
  context.strokeText(text, x, y);
  context.fillStyle = color;
  context.fillText(text, x, y);
}
