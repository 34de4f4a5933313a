// A link to what is shown, kept in the address's hash: it holds no secret, and opens in a browser that was admitted.

import type { ScanRow } from "./api";
import { nearest, type PlaneName, type Triple } from "./geometry";
import { wantLabels } from "./labels";
import { openBeside } from "./loading";
import { notice } from "./notice";
import { views } from "./plane";
import { change, element, state } from "./state";

/** A part of a link: `get` gives its text, or null to leave it out; `set` returns whether the text is valid. */
export interface LinkPart { key: string; get: () => string | null; set: (text: string) => boolean }

const SWITCHES = ["masks", "rings", "lines", "smooth", "invert", "compare", "coupled"] as const;
const PANES = ["axial", "coronal", "sagittal", "render", "axial-beside", "coronal-beside", "sagittal-beside"];
const MOST = 2000; // characters
const CLIPBOARD_MS = 2000; // another program can hold it

/** What a link keeps besides the scan; others add theirs with `linkParts.push`. */
export const linkParts: LinkPart[] = [
  {
    key: "at",
    get: () => written(state.crosshair),
    set: (text) => {
      const world = numbers(text, 3) as Triple | null;
      if (!world || !state.ct || !nearest(state.ct.geometry, world)) return false;
      change({ crosshair: world, nodule: null });
      return true;
    },
  },
  {
    key: "window",
    get: () => written([state.center, state.width]),
    set: (text) => {
      const window = numbers(text, 2);
      if (!window || window[1] <= 0) return false;
      change({ center: window[0], width: window[1] });
      return true;
    },
  },
  {
    key: "plane",
    get: () => state.plane,
    set: (text) => {
      if (!(text in views)) return false;
      change({ plane: text as PlaneName, side: "ct" });
      return true;
    },
  },
  {
    key: "on",
    get: () => SWITCHES.filter((name) => state[name]).join(","),
    set: (text) => {
      const on = text.split(",").filter(Boolean);
      if (!on.every((name) => (SWITCHES as readonly string[]).includes(name))) return false;
      const compare = on.includes("compare") && Boolean(state.facts?.volumes.beside);
      change({ ...Object.fromEntries(SWITCHES.map((name) => [name, on.includes(name)])), compare });
      if (compare) void openBeside();
      return true;
    },
  },
  {
    key: "opacity",
    get: () => String(Math.round(state.opacity * 100)),
    set: (text) => {
      const opacity = numbers(text, 1)?.[0] ?? -1;
      if (opacity < 0 || opacity > 100) return false;
      element<HTMLInputElement>("opacity").value = String(opacity);
      change({ opacity: opacity / 100 });
      return true;
    },
  },
  {
    key: "alone",
    get: () => state.alone,
    set: (text) => {
      if (!PANES.includes(text)) return false;
      change({ alone: text });
      return true;
    },
  },
  {
    key: "labels",
    get: () => (state.layers.length ? state.layers.flatMap(({ on }, number) => (on ? [number] : [])).join(",") : null),
    set: (text) => {
      if (!/^(\d{1,4}(,\d{1,4})*)?$/.test(text)) return false;
      wantLabels(text.split(",").filter(Boolean).map(Number));
      return true;
    },
  },
  {
    key: "shift",
    get: () => (state.offset.some(Boolean) ? written(state.offset) : null),
    set: (text) => {
      const offset = numbers(text, 3) as Triple | null;
      if (offset) change({ offset });
      return offset !== null;
    },
  },
  {
    key: "scene",
    get: () => element<HTMLSelectElement>("scene").value || null,
    set: (text) => {
      const choice = element<HTMLSelectElement>("scene");
      if (![...choice.options].some(({ value }) => value === text)) return false;
      choice.value = text;
      return true;
    },
  },
  ...(["axial", "coronal", "sagittal"] as const).map((plane): LinkPart => ({
    key: plane,
    get: () => (views[plane].zoom === 1 && !views[plane].pan.some(Boolean) ? null : written([views[plane].zoom, ...views[plane].pan])),
    set: (text) => {
      const [zoom, ...pan] = numbers(text, 3) ?? [0];
      if (zoom < 0.5 || zoom > 20) return false;
      Object.assign(views[plane], { zoom, pan });
      return true;
    },
  })),
];

function written(values: number[]): string {
  return values.map((value) => Number(value.toFixed(5))).join(",");
}

function numbers(text: string, count: number): number[] | null {
  const found = text.split(",").map((part) => (/^-?\d{1,7}(\.\d{1,6})?$/.test(part) ? Number(part) : NaN));
  return found.length === count && found.every(Number.isFinite) ? found : null;
}

/** Links begin at a folder that never changes: it leads an admitted browser to the viewer's own. */
function address(): string {
  const parts = new URLSearchParams();
  if (state.session?.kind === "run" && state.row) parts.set("scan", state.row.name);
  for (const { key, get } of linkParts) {
    const text = get();
    if (text !== null) parts.set(key, text);
  }
  return `${location.origin}/link/#${parts.toString().replaceAll("%2C", ",")}`;
}

export async function copyLink(): Promise<void> {
  if (!state.ct) return;
  const link = address();
  try {
    const late = new Promise((_, fail) => setTimeout(fail, CLIPBOARD_MS));
    await Promise.race([navigator.clipboard.writeText(link), late]);
    notice("A link to this view was copied.");
  } catch {
    // Without the clipboard, which browsers give to this machine's own pages only, the address bar has the link's hash.
    history.replaceState(null, "", new URL(link).hash);
    notice("The clipboard cannot be used here: the address bar has the link.");
  }
}

let asked: URLSearchParams | null = null;

/** What the address asks for; the scan it names, or null. The hash is then used up. */
export function readLink(rows: ScanRow[]): ScanRow | null {
  asked = location.hash.length > 1 ? new URLSearchParams(location.hash.slice(1, MOST)) : null;
  if (!asked) return null;
  history.replaceState(null, "", location.pathname);
  const name = asked.get("scan");
  if (name === null) return null;
  asked.delete("scan");
  const row = rows.find((one) => one.name === name);
  if (row) return row;
  asked = null;
  notice("The link names a scan that is not here; it was ignored.");
  return null;
}

/** Show what the address asked for, once its scan is there; what is not valid in it is ignored, and told. */
export function followLink(): void {
  if (!asked) return;
  const known = new Map(linkParts.map((part) => [part.key, part]));
  const bad = [...asked].filter(([key, text]) => !known.get(key)?.set(text)).map(([key]) => key.slice(0, 20));
  asked = null;
  if (bad.length) notice(`These parts of the link are not valid, and were ignored: ${bad.slice(0, 5).join(", ")}`);
}

/** Where pages of this host and port, and no others, find the viewer: `/link/` reads it. */
export function rememberViewer(): void {
  try {
    localStorage.setItem("hilum-viewer", location.pathname);
  } catch {
    // Without storage links lead nowhere; the page works.
  }
}
