// The slices of a plane: a slider in each pane, and cine, which plays them at a constant rate.

import type { PlaneView } from "./plane";
import { change, element, make, state, watch } from "./state";

/** Slices per second. */
const START = 15;
const CALM = 3;
const SPEEDS = [1, 60];

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
let views: PlaneView[] = [];
let playing: { view: PlaneView; since: number; done: number } | null = null;
let speed = calm.matches ? CALM : START;

export function setUpCine(planes: PlaneView[]): void {
  views = planes.filter(({ source }) => source === "ct");
  const show = views.map(slider);
  watch(["crosshair", "ct"], () => show.forEach((one) => one()));
  watch(["ct"], stop);
  element("play").addEventListener("click", togglePlay);
  element("speed").addEventListener("input", () => setSpeed(Number(element<HTMLInputElement>("speed").value)));
  setSpeed(speed);
}

function slider(view: PlaneView): () => void {
  const input = make("input", "", "slices");
  Object.assign(input, { type: "range", min: "0", step: "1", disabled: true });
  input.setAttribute("aria-label", `Slice of the ${view.plane} plane`);
  view.section.append(input);
  const go = () => {
    const at = view.position();
    if (at) move(view, Number(input.value) - at.at);
  };
  input.addEventListener("input", go);
  return () => {
    const at = view.position();
    input.disabled = at === null;
    if (!at) return;
    input.max = String(at.count - 1);
    input.value = String(at.at);
  };
}

function move(view: PlaneView, count: number): void {
  const world = view.step(count);
  if (world) change({ crosshair: world });
}

export function togglePlay(): void {
  if (playing) return stop();
  const view = views.find(({ plane }) => plane === state.plane);
  if (!view?.position()) return;
  playing = { view, since: NaN, done: 0 };
  element("play").textContent = "Pause";
  element("play").setAttribute("aria-pressed", "true");
  requestAnimationFrame(tick);
}

function stop(): void {
  playing = null;
  element("play").textContent = "Play";
  element("play").setAttribute("aria-pressed", "false");
}

/** A frame that comes late goes on by more slices: the rate does not depend on how long a slice takes. */
function tick(now: number): void {
  if (!playing) return;
  if (Number.isNaN(playing.since)) playing.since = now;
  const at = playing.view.position();
  if (!at) return stop();
  const wanted = Math.floor(((now - playing.since) * speed) / 1000);
  if (wanted - playing.done > speed) Object.assign(playing, { since: now, done: 0 }); // the tab was hidden
  else if (wanted > playing.done) {
    const next = at.at + wanted - playing.done;
    if (next >= at.count && calm.matches) { // no jump back to the first slice
      move(playing.view, at.count - 1 - at.at);
      return stop();
    }
    move(playing.view, (next % at.count) - at.at);
    playing.done = wanted;
  }
  Object.assign(element("play").dataset, { done: String(playing.done), ms: String(now - playing.since) });
  requestAnimationFrame(tick);
}

function setSpeed(wanted: number): void {
  speed = Math.min(Math.max(Math.round(wanted), SPEEDS[0]), SPEEDS[1]);
  if (playing) Object.assign(playing, { since: NaN, done: 0 });
  element<HTMLInputElement>("speed").value = String(speed);
  element("shown-speed").textContent = `${speed} / s`;
}

export function changeSpeed(by: number): void {
  setSpeed(speed < 10 || (speed === 10 && by < 0) ? speed + by : speed + 5 * by);
}
