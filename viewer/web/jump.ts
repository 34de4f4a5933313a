// Go to a place that is typed: a voxel, or millimeters of the world.

import { nearest, toVoxel, toWorld, type Geometry, type Triple } from "./geometry";
import { change, element, make, state } from "./state";

/** How a place is written; RAS differs from LPS in the signs of x and y. */
const WAYS: Record<string, { label: string; world: (at: Geometry, place: Triple) => Triple; shown: (at: Geometry, world: Triple) => string }> = {
  voxel: {
    label: "Voxel (z, y, x)", world: toWorld,
    shown: (at, world) => (nearest(at, world) ?? toVoxel(at, world).map(Math.round)).join(", "),
  },
  lps: { label: "World mm, LPS (x, y, z)", world: (_, place) => place, shown: (_, world) => millimeters(world) },
  ras: { label: "World mm, RAS (x, y, z)", world: (_, place) => turned(place), shown: (_, world) => millimeters(turned(world)) },
};

const dialog = () => element<HTMLDialogElement>("jump");
const field = () => element<HTMLInputElement>("jump-place");
const axes = () => element<HTMLSelectElement>("jump-axes");

export function setUpJump(): void {
  for (const [name, { label }] of Object.entries(WAYS)) {
    const option = make("option", label);
    option.value = name;
    axes().append(option);
  }
  axes().addEventListener("change", fill);
  field().addEventListener("keydown", (event) => { if (event.key === "Enter") go(); });
  field().addEventListener("input", () => tell(""));
  element("jump-go").addEventListener("click", go);
  element("jump-close").addEventListener("click", () => dialog().close());
  element("go-to").addEventListener("click", openJump);
}

export function openJump(): void {
  if (!state.ct || dialog().open) return;
  dialog().showModal();
  fill();
}

/** The crosshair's place in the chosen way, to be changed or copied. */
function fill(): void {
  if (!state.ct) return;
  field().value = WAYS[axes().value].shown(state.ct.geometry, state.crosshair);
  tell("");
  field().focus();
  field().select();
}

function go(): void {
  if (!state.ct) return;
  try {
    const world = placeOf(field().value, axes().value, state.ct.geometry);
    change({ crosshair: world });
    field().blur(); // otherwise it has the focus until the next frame, and the next key
    dialog().close();
  } catch (error) {
    tell((error as Error).message);
    field().focus();
  }
}

function tell(text: string): void {
  element("jump-trouble").textContent = text;
  field().setAttribute("aria-invalid", String(text !== ""));
}

/** The world's place that a text names; an error says in one line what is wrong with it. */
export function placeOf(text: string, way: string, at: Geometry): Triple {
  const parts = text.replace(/[()[\]]/g, " ").trim().split(/[\s,;]+/).filter(Boolean);
  const place = parts.map(Number) as Triple;
  if (parts.length !== 3 || !place.every(Number.isFinite)) throw new Error("Write three numbers, such as 136, 250, 180.");
  const world = WAYS[way].world(at, place);
  if (nearest(at, world)) return world;
  if (way === "voxel") {
    const axis = place.findIndex((value, k) => Math.round(value) < 0 || Math.round(value) >= at.shape[k]);
    throw new Error(`Voxels have ${"zyx"[axis]} from 0 to ${at.shape[axis] - 1}, not ${place[axis]}.`);
  }
  const voxel = toVoxel(at, world).map(Math.round);
  throw new Error(`This is outside the scan: it would be voxel (${voxel.join(", ")}) of ${at.shape.join(" x ")}.`);
}

function turned([x, y, z]: Triple): Triple {
  return [-x, -y, z];
}

function millimeters(world: Triple): string {
  return world.map((value) => value.toFixed(1)).join(", ");
}
