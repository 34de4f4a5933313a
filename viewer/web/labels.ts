// The label maps of a scan: which are shown, their colors, names and volumes.

import { getVolume, type Label, type LabelMap } from "./api";
import { toVoxel, type Triple } from "./geometry";
import type { Volume } from "./nifti";
import type { Color, Overlay } from "./slice";
import { change, element, make, state, watch } from "./state";

/** A label map; its volume is the box around its labels, which begins at voxel `start` of the scan. */
export interface Layer { map: LabelMap; on: boolean; volume: Volume | null; start: Triple; trouble: string }

/** Bytes that are loaded before anyone asks; further label maps are off, and come when they are switched on. */
const AT_ONCE = 150e6;

let signal: AbortSignal | null = null;
let queue: Promise<void> = Promise.resolve();
let wanted: number[] | null = null;

/** Show these label maps, by their numbers; of the scan that is open, or is being opened. */
export function wantLabels(numbers: number[]): void {
  if (state.layers.length === 0) wanted = numbers;
  else switchLabels(true, numbers);
}

export function setUpLabels(): void {
  watch(["layers"], show);
  element("all-labels").addEventListener("click", () => switchLabels(true));
  element("no-labels").addEventListener("click", () => switchLabels(false));
}

/** A new scan: list its label maps, and load those that are on. */
export async function startLabels(maps: LabelMap[], mine: AbortSignal): Promise<void> {
  signal = mine;
  let bytes = 0;
  const layers = maps.map((map, number): Layer => {
    bytes += map.volume?.bytes ?? 0;
    const on = map.volume !== null && (wanted ? wanted.includes(number) : bytes <= AT_ONCE);
    return { map, on, volume: null, start: [0, 0, 0], trouble: "" };
  });
  wanted = null;
  change({ layers });
  await load();
}

/** Give a label map a volume of the whole scan, so that it can be corrected anywhere. */
export async function wholeLayer(number: number): Promise<Uint8Array> {
  const { map } = state.layers[number];
  if (map.volume) {
    replace(map, (layer) => ({ ...layer, on: true }));
    await load();
  }
  const layer = state.layers.find((one) => one.map === map);
  const { ct } = state;
  if (!layer || !ct || (map.volume && !layer.volume)) throw new Error(layer?.trouble || "the label map is not here");
  if (layer.volume?.data.length === ct.data.length) return layer.volume.data as Uint8Array;
  const volume = layer.volume ? onGrid(layer.volume, ct) : { geometry: ct.geometry, data: new Uint8Array(ct.data.length), slope: 1, intercept: 0 };
  replace(map, (one) => ({ ...one, on: true, volume, start: [0, 0, 0] }));
  return volume.data as Uint8Array;
}

export function switchLabels(on: boolean, only?: number[]): void {
  const shown = (layer: Layer, number: number) => on && (only?.includes(number) ?? true) && layer.map.volume !== null && !layer.trouble;
  change({ layers: state.layers.map((layer, number) => ({ ...layer, on: shown(layer, number) })) });
  void load();
}

/** None if any is shown, all if none is. */
export function toggleLabels(): void {
  switchLabels(!state.layers.some((layer) => layer.on));
}

/** Show a label map, and load it. */
export function switchOn(map: LabelMap): void {
  replace(map, (layer) => ({ ...layer, on: true }));
  void load();
}

function toggle(map: LabelMap): void {
  replace(map, (layer) => ({ ...layer, on: !layer.on }));
  void load();
}

function replace(map: LabelMap, by: (layer: Layer) => Layer): void {
  change({ layers: state.layers.map((layer) => (layer.map === map ? by(layer) : layer)) });
}

/** Load what is on and not here yet, one after another. */
function load(): Promise<void> {
  queue = queue.then(loadMissing);
  return queue;
}

async function loadMissing(): Promise<void> {
  const mine = signal;
  for (;;) {
    const next = state.layers.find((layer) => layer.on && !layer.volume && !layer.trouble);
    if (!next?.map.volume || !mine || mine.aborted || !state.ct) return;
    try {
      const volume = await getVolume(next.map.volume, mine, () => undefined);
      if (mine.aborted) return;
      const start = startOf(volume, state.ct);
      replace(next.map, (layer) => ({ ...layer, volume, start }));
    } catch (error) {
      if (mine.aborted) return;
      replace(next.map, (layer) => ({ ...layer, on: false, trouble: (error as Error).message }));
    }
  }
}

/** A box of labels on the whole grid of the scan. Memory that nothing is written to takes no room. */
export function onGrid(box: Volume, ct: Volume): Volume {
  const [z, y, x] = startOf(box, ct);
  const [rows, columns] = ct.geometry.shape.slice(1);
  const [bz, by, bx] = box.geometry.shape;
  const data = new Uint8Array(ct.data.length);
  for (let i = 0; i < bz; i++) {
    for (let j = 0; j < by; j++) {
      const from = (i * by + j) * bx;
      data.set(box.data.subarray(from, from + bx), ((z + i) * rows + y + j) * columns + x);
    }
  }
  return { ...box, geometry: ct.geometry, data };
}

function startOf(box: Volume, ct: Volume): Triple {
  const start = toVoxel(ct.geometry, box.geometry.origin).map(Math.round) as Triple;
  if (start.some((at, axis) => at < 0 || at + box.geometry.shape[axis] > ct.geometry.shape[axis])) throw new Error("not on the scan's grid");
  return start;
}

/** What the planes draw over the scan, small label maps over large ones. */
export function labelOverlays(): Overlay[] {
  const size = ({ map }: Layer) => map.labels.reduce((sum, { ml }) => sum + ml, 0);
  const shown = state.layers.filter((layer) => layer.on && layer.volume).sort((one, other) => size(other) - size(one));
  return shown.map(({ map, volume, start }) => {
    const colors = new Map(map.labels.map((label) => [label.value, colorOf(label)]));
    return { volume: volume!, start, covers: true, color: (value) => colors.get(value) ?? null };
  });
}

export function colorOf(label: Label): Color {
  return [1, 3, 5].map((at) => parseInt(label.color.slice(at, at + 2), 16)) as Color;
}

function show(): void {
  const { layers } = state;
  element("label-maps").hidden = layers.length === 0;
  element("label-count").textContent = String(layers.length);
  const list = element("labels");
  const { scrollTop } = list.parentElement!;
  const focused = document.activeElement?.id;
  list.replaceChildren(...layers.map(item));
  list.parentElement!.scrollTop = scrollTop;
  if (focused?.startsWith("layer-")) document.getElementById(focused)?.focus();
}

function item(layer: Layer, number: number): HTMLLIElement {
  const { map } = layer;
  const row = make("li");
  const button = make("button", map.name, "switch");
  button.id = `layer-${number}`;
  button.title = map.volume ? `${map.name}: show or hide` : `${map.name}: no voxel is marked`;
  button.disabled = map.volume === null || layer.trouble !== "";
  button.setAttribute("aria-pressed", String(layer.on));
  button.addEventListener("click", () => toggle(map));
  row.append(button);
  if (layer.trouble) row.append(make("p", layer.trouble, "bad"));
  for (const label of map.labels) row.append(line(label, label.name === map.name));
  return row;
}

/** One label: its color, name, value and volume; a click goes there. */
function line(label: Label, same: boolean): HTMLElement {
  const row = make("p", "", "label");
  const swatch = make("span", "", "swatch");
  swatch.style.background = label.color;
  row.append(swatch, make("span", same || label.name === String(label.value) ? `value ${label.value}` : `${label.name} (${label.value})`, "what"), make("span", milliliters(label.ml), "size"));
  row.title = label.name;
  const { at } = label;
  if (at) {
    row.tabIndex = 0;
    row.addEventListener("click", () => change({ crosshair: at }));
    row.addEventListener("keydown", (event) => { if (event.key === "Enter") change({ crosshair: at }); });
  }
  return row;
}

function milliliters(ml: number): string {
  return `${ml >= 100 ? ml.toFixed(0) : Number(ml.toPrecision(3))} ml`;
}
