// The list of a run's scans: search, sort, next and previous.

import type { ScanRow } from "./api";
import { change, element, make, state, watch } from "./state";

interface Order { label: string; of: (row: ScanRow) => string | number | null }

const ORDERS: Record<string, Order> = {
  name: { label: "Name", of: (row) => row.title },
  id: { label: "Scan id", of: (row) => row.name },
  status: { label: "Status", of: (row) => row.status },
  risk: { label: "Risk", of: (row) => row.risk },
  nodules: { label: "Nodules", of: (row) => row.nodules },
  flags: { label: "Flags", of: (row) => row.flags.length },
  volume: { label: "Lung volume", of: (row) => (row.right_ml === null && row.left_ml === null ? null : (row.right_ml ?? 0) + (row.left_ml ?? 0)) },
  review: { label: "Review", of: (row) => row.review?.verdict || null },
};

let shown: ScanRow[] = [];
let ascending = true;
let open: (row: ScanRow) => void = () => undefined;

export function setUpScans(show: (row: ScanRow) => void): void {
  open = show;
  const sort = element<HTMLSelectElement>("sort");
  for (const [name, { label }] of Object.entries(ORDERS)) {
    const option = make("option", label);
    option.value = name;
    sort.append(option);
  }
  sort.addEventListener("change", list);
  element("search").addEventListener("input", list);
  element("order").addEventListener("click", () => {
    ascending = !ascending;
    element("order").textContent = ascending ? "↑" : "↓";
    list();
  });
  watch(["session"], list);
  watch(["row"], mark);
}

/** The first of the list that can be shown. */
export function firstScan(): ScanRow | undefined {
  list();
  return shown.find((row) => row.viewable) ?? shown[0];
}

/** One scan's row anew, after its review was saved. */
export function replaceRow(row: ScanRow): void {
  const session = state.session!;
  session.scans = session.scans.map((one) => (one.id === row.id ? row : one));
  change({ row });
  const old = element("scans").querySelector(`[data-id="${CSS.escape(row.id)}"]`);
  old?.replaceWith(line(row));
  shown = shown.map((one) => (one.id === row.id ? row : one));
  mark();
}

export function stepScan(by: number): void {
  const at = shown.findIndex((row) => row.id === state.row?.id);
  const next = shown[at < 0 ? 0 : at + by];
  if (next) open(next);
}

function list(): void {
  const all = state.session?.scans ?? [];
  const words = element<HTMLInputElement>("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const { of } = ORDERS[element<HTMLSelectElement>("sort").value] ?? ORDERS.name;
  shown = all.filter((row) => words.every((word) => text(row).includes(word))).sort((a, b) => compare(of(a), of(b)) || compare(a.name, b.name));
  element("count").textContent = shown.length === all.length ? `${all.length} scan${all.length === 1 ? "" : "s"}` : `${shown.length} of ${all.length} scans`;
  element("scans").replaceChildren(...shown.map(line));
  mark();
}

/** What is unknown comes last in either order. */
function compare(a: string | number | null, b: string | number | null): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  const way = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  return ascending ? way : -way;
}

function text(row: ScanRow): string {
  return [row.title, row.name, row.series, row.dataset, row.risk_words, row.status, row.reason, ...row.flags, ...row.label_maps, row.review?.verdict, row.review?.comment].join(" ").toLowerCase();
}

function line(row: ScanRow): HTMLLIElement {
  const item = make("li");
  item.dataset.id = row.id;
  item.dataset.name = row.name;
  item.tabIndex = 0;
  if (row.thumbnail) {
    const image = make("img");
    Object.assign(image, { width: 56, height: 56, loading: "lazy", alt: "", src: `api/scans/${encodeURIComponent(row.id)}/thumbnail.png` });
    item.append(image);
  } else {
    item.append(make("div", "", "blank"));
  }
  const good = row.status === "done" || row.status === "repaired";
  const verdict = row.review?.verdict ? { accept: "✓ accepted", reject: "✗ rejected" }[row.review.verdict] : "";
  const status = make("p", "", "small");
  status.append(make("span", row.status, good ? "good" : "bad"));
  if (row.viewable && row.risk_words && row.risk_words !== row.status) status.append(` · ${row.risk_words}`);
  const current = row.review?.current !== false;
  if (verdict) status.append(" · ", make("span", current ? verdict : `${verdict[0]} before`, current ? (row.review?.verdict === "accept" ? "good" : "bad") : ""));
  if (verdict && !current) status.title = "The review is of an earlier output of this scan";
  if (row.nodules) status.append(` · ${row.nodules} nodule${row.nodules > 1 ? "s" : ""}`);
  if (row.label_maps.length) status.append(` · ${row.label_maps.length} label map${row.label_maps.length > 1 ? "s" : ""}`);
  const name = make("p", row.title, "name");
  const origin = [row.title === row.name ? "" : row.name, row.dataset].filter(Boolean).join(" · ");
  const id = make("p", origin, "small id");
  const flags = make("p", good ? row.flags.join(", ") : row.reason, "small");
  for (const part of [name, id, flags]) part.title = part.textContent;
  if (row.series) id.title = `${origin}\nseries ${row.series}`;
  item.append(name, id, status, flags);
  item.addEventListener("click", () => open(row));
  item.addEventListener("keydown", (event) => { if (event.key === "Enter") open(row); });
  return item;
}

function mark(): void {
  for (const item of element("scans").querySelectorAll<HTMLElement>("li")) {
    const current = item.dataset.id === state.row?.id;
    item.setAttribute("aria-current", String(current));
    if (current) item.scrollIntoView({ block: "nearest" });
  }
}
