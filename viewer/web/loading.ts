// A scan is opened: first its volume, so that the planes stand; then masks, then what is far more work.

import { getJson, getVolume, type Part, type ScanFacts, type ScanRow } from "./api";
import { onGrid, startLabels } from "./labels";
import type { Volume } from "./nifti";
import { clearScene, startScene } from "./scene";
import { change, element, state } from "./state";

/** How often the planes are drawn while slices come. */
const REDRAW_MS = 500;

let running: AbortController | null = null;

/** Open a scan; `placed` is called when its planes can be drawn. */
export async function openScan(row: ScanRow, placed?: () => void): Promise<void> {
  running?.abort();
  const mine = (running = new AbortController());
  void clearScene();
  change({ row, facts: null, ct: null, coming: null, beside: null, lungs: null, noduleMask: null, layers: [], nodule: null, measures: [], pointer: null });
  trouble("");
  busy("");
  document.title = `${row.title} - hilum`;
  if (!row.viewable) return trouble(`${row.title}: ${row.status}. ${row.reason}`);
  try {
    loading("opening the scan", 0);
    const facts = await getJson<ScanFacts>(`api/scans/${encodeURIComponent(row.id)}`, mine.signal);
    change({ facts });
    const { world, nodule } = facts.start;
    change({ crosshair: world, nodule: facts.nodules.find(({ label }) => label === nodule) ?? null });
    let drawn = performance.now(); // what is here at once is drawn once
    const ct = await getVolume(facts.volumes.ct, mine.signal, (share, coming) => {
      loading(`loading ${megabytes(facts.volumes.ct)}`, share);
      if (performance.now() - drawn < REDRAW_MS || !coming.isHere(facts.volumes.ct.first ?? 0)) return;
      drawn = performance.now();
      change({ coming: { ...coming } });
    });
    performance.mark("hilum:ct-here");
    change({ ct, coming: null });
    placed?.();
    loading(null, 0);
    // Let the planes be drawn before anything else asks for the processor.
    await new Promise((resume) => requestAnimationFrame(() => setTimeout(resume, 0)));
    await openMasks(facts, ct, mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    loading(null, 0);
    trouble(`${row.title}: ${(error as Error).message}`);
  }
}

/** A mask that cannot be had is said at the foot of the page; the scan is shown without it. */
async function openMasks(facts: ScanFacts, ct: Volume, signal: AbortSignal): Promise<void> {
  const missing: string[] = [];
  const mask = async (part: Part | null, name: string) => {
    if (!part) return null;
    busy(`${name} ...`);
    try {
      const volume = await getVolume(part, signal, () => undefined);
      return onGrid(volume, ct);
    } catch (error) {
      if (!signal.aborted) missing.push(`no ${name}: ${(error as Error).message}`);
      return null;
    }
  };
  const noduleMask = await mask(facts.volumes.nodules, "nodule mask");
  if (signal.aborted) return;
  change({ noduleMask });
  if (facts.label_maps.length) busy("label maps ...");
  await startLabels(facts.label_maps, signal);
  if (signal.aborted) return;
  const lungs = await mask(facts.volumes.lungs, "lung mask");
  if (signal.aborted) return;
  change({ lungs });
  busy(missing.join("; "), missing.length > 0);
  performance.mark("hilum:masks");
  startScene();
}

/** What is beside the scan is fetched only where it is asked for: it is as big as the scan. */
export async function openBeside(): Promise<void> {
  const part = state.facts?.volumes.beside;
  if (!part || state.beside || !running) return;
  const { signal } = running;
  try {
    const beside = await getVolume(part, signal, (share) => loading(`loading ${state.facts?.beside?.[1] ?? "the other scan"}, ${megabytes(part)}`, share));
    change({ beside });
  } catch (error) {
    if (!signal.aborted) trouble((error as Error).message);
  } finally {
    if (!signal.aborted) loading(null, 0);
  }
}

function megabytes(part: Part): string {
  return `${Math.max(1, Math.round(part.bytes / 1e6))} MB`;
}

function loading(text: string | null, share: number): void {
  element("loading").hidden = text === null;
  if (text === null) return;
  element("loading-text").textContent = text;
  element<HTMLProgressElement>("progress").value = share;
}

export function trouble(text: string): void {
  element("trouble").hidden = text === "";
  element("trouble").textContent = text;
}

export function busy(text: string, bad = false): void {
  const place = element("busy");
  place.textContent = text;
  place.title = text;
  place.className = bad ? "bad" : text ? "spin" : "";
}
