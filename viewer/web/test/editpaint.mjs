// Strokes without a browser: a mask and what is done to it as JSON on stdin, the mask after each action as JSON on stdout.
// tests/test_viewer_edit.py has the oracle.
import { text } from "node:stream/consumers";
import { build } from "esbuild";

const { outputFiles: [bundle] } = await build({
  stdin: { contents: 'export * from "./editpaint"; export * from "./editsteps"', resolveDir: `${import.meta.dirname}/..` },
  bundle: true, write: false, format: "esm",
});
const { become, draw, fill, pack, place, Steps } = await import(`data:text/javascript;base64,${Buffer.from(bundle.contents).toString("base64")}`);

const { shape, spacing, values, actions } = JSON.parse(await text(process.stdin));
const labels = Uint8Array.from(values);
const steps = new Steps(labels);
const recorded = (work) => { // as a step that can be undone
  const list = [];
  const answer = work(list);
  steps.add(list);
  return answer;
};
const can = {
  draw: ({ from, to, radius, through, label, only }) => recorded((list) => draw(labels, shape, spacing, from, to, radius, through, { label, only }, list)),
  fill: ({ at, across, down, label }) => recorded((list) => fill(labels, shape, at, { across, down }, label, list)),
  place: ({ runs }) => recorded((list) => place(labels, Uint32Array.from(runs), list)),
  become: ({ other }) => recorded((list) => become(labels, Uint8Array.from(other), list)),
  undo: () => steps.undo(),
  redo: () => steps.redo(),
  saved: () => steps.markSaved(steps.top),
  pack: () => [...pack(labels)],
  changes: ({ most }) => steps.changes(most) && [...steps.changes(most)],
};
process.stdout.write(JSON.stringify(actions.map(({ does, ...how }) => {
  const answer = can[does](how) ?? null;
  return { answer, labels: Buffer.from(labels).toString("base64"), unsaved: steps.unsaved, undo: steps.canUndo, redo: steps.canRedo };
})));
