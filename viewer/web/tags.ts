// Header fields of the scan that hilum may show, with a search.

import { element, make, state, watch } from "./state";

export function setUpTags(): void {
  watch(["facts"], show);
  element("tag-search").addEventListener("input", show);
}

function show(): void {
  const all = state.facts?.header ?? [];
  const words = element<HTMLInputElement>("tag-search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = all.filter((field) => words.every((word) => field.join(" ").toLowerCase().includes(word)));
  element("tags").hidden = all.length === 0;
  element("tag-list").replaceChildren(...found.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
  element("tag-count").textContent = found.length === all.length ? "" : `${found.length} of ${all.length}`;
}
