// One line about what was just done or could not be done; it goes away by itself.

import { element } from "./state";

const SHOWN_MS = 6000;

let hiding = 0;

export function notice(text: string): void {
  const place = element("notice");
  place.textContent = text;
  place.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { place.hidden = true; }, SHOWN_MS);
}
