// Accept, reject, comment: kept by the server beside the run.

import { saveReview, type Review, type ScanRow } from "./api";
import { replaceRow } from "./scans";
import { element, state, watch } from "./state";

export function setUpReview(): void {
  element("accept").addEventListener("click", () => toggleVerdict("accept"));
  element("reject").addEventListener("click", () => toggleVerdict("reject"));
  element("save").addEventListener("click", () => void save(state.row?.review?.verdict ?? ""));
  element("comment").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void save(state.row?.review?.verdict ?? "");
  });
  watch(["row"], show);
}

let shownFor: string | null = null;

function show(): void {
  const { row } = state;
  if (!row) return;
  const verdict = row.review?.verdict ?? "";
  element("accept").setAttribute("aria-pressed", String(verdict === "accept"));
  element("reject").setAttribute("aria-pressed", String(verdict === "reject"));
  // What is being typed stays, unless another scan was opened.
  if (shownFor !== row.id) {
    element<HTMLTextAreaElement>("comment").value = row.review?.comment ?? "";
    const told = row.review?.when ? `saved ${row.review.when.slice(0, 16).replace("T", " ")}${row.review.current === false ? ", of an earlier output" : ""}` : "";
    Object.assign(element("saved"), { textContent: told, title: told, className: "" });
    shownFor = row.id;
  }
}

/** The verdict that stands is taken back by asking for it again. */
export function toggleVerdict(verdict: "accept" | "reject"): void {
  void save(state.row?.review?.verdict === verdict ? "" : verdict);
}

async function save(verdict: Review["verdict"]): Promise<void> {
  const { row, session, facts } = state;
  if (!row || !session?.reviews) return;
  const told = element("saved");
  const say = (text: string, cls: string) => {
    if (state.row?.id === row.id) Object.assign(told, { textContent: text, title: text, className: cls });
  };
  say("saving", "");
  try {
    const review = await saveReview(row.id, { verdict, comment: element<HTMLTextAreaElement>("comment").value }, facts?.scan_sha256 ?? "");
    const saved: ScanRow = { ...row, review };
    if (state.row?.id === row.id) replaceRow(saved);
    else session.scans = session.scans.map((one) => (one.id === row.id ? saved : one));
    say("saved", "good");
  } catch (error) {
    say(`not saved: ${(error as Error).message}`, "bad");
  }
}
