// The steps of correcting a mask: undo, redo, whether something is unsaved, and which voxels were touched.

import { apply, type Step } from "./editpaint";

/** Steps that can be undone: at least so many, at most `MOST`, or as many as fit into `BYTES`. */
const LEAST = 50;
const MOST = 200;
const BYTES = 64e6;

export class Steps {
  private done: Step[] = [];
  private undone: Step[] = [];
  /** What is under the first step that can be undone. */
  private base: object = {};
  private saved: object = this.base;
  /** Sorted runs of voxels that differ, or once differed, from the mask that the run has: first one, end. */
  private touched: Uint32Array = new Uint32Array(0);

  constructor(private readonly labels: Uint8Array) {}

  /** The state of the mask, as a token that `markSaved` takes. */
  get top(): object { return this.done.at(-1) ?? this.base; }
  get unsaved(): boolean { return this.top !== this.saved; }
  get canUndo(): number { return this.done.length; }
  get canRedo(): number { return this.undone.length; }

  markSaved(top: object): void { this.saved = top; }

  add(list: number[]): void {
    if (list.length === 0) return;
    const step = Uint32Array.from(list);
    this.done.push(step);
    this.undone = [];
    this.touched = union(this.touched, spans(step));
    let bytes = this.done.reduce((sum, one) => sum + one.byteLength, 0);
    while (this.done.length > MOST || (bytes > BYTES && this.done.length > LEAST)) {
      this.base = this.done[0];
      bytes -= this.done.shift()!.byteLength;
    }
  }

  undo(): boolean { return this.move(this.done, this.undone, true); }
  redo(): boolean { return this.move(this.undone, this.done, false); }

  private move(from: Step[], to: Step[], back: boolean): boolean {
    const step = from.pop();
    if (!step) return false;
    apply(this.labels, step, back);
    to.push(step);
    return true;
  }

  /** The labels of all touched voxels as runs (first voxel, number, label); null if there are more than `most`. */
  changes(most: number): Uint32Array<ArrayBuffer> | null {
    const runs: number[] = [];
    for (let i = 0; i < this.touched.length; i += 2) {
      for (let at = this.touched[i]; at < this.touched[i + 1];) {
        const start = at;
        const label = this.labels[at++];
        while (at < this.touched[i + 1] && this.labels[at] === label) at++;
        runs.push(start, at - start, label);
      }
      if (runs.length > 3 * most) return null;
    }
    return Uint32Array.from(runs);
  }
}

function spans(step: Step): Uint32Array {
  const count = step.length / 3;
  const order = Uint32Array.from({ length: count }, (_, i) => i).sort((a, b) => step[3 * a] - step[3 * b]);
  const found = new Uint32Array(2 * count);
  order.forEach((one, i) => { found[2 * i] = step[3 * one]; found[2 * i + 1] = step[3 * one] + step[3 * one + 1]; });
  return found;
}

/** Two sorted lists of spans as one, without overlaps. */
export function union(one: Uint32Array, other: Uint32Array): Uint32Array {
  const out = new Uint32Array(one.length + other.length);
  let [i, k, n] = [0, 0, 0];
  while (i < one.length || k < other.length) {
    const first = k >= other.length || (i < one.length && one[i] <= other[k]);
    const [start, end] = first ? [one[i], one[i + 1]] : [other[k], other[k + 1]];
    if (first) i += 2;
    else k += 2;
    if (n && start <= out[n - 1]) out[n - 1] = Math.max(out[n - 1], end);
    else { out[n] = start; out[n + 1] = end; n += 2; }
  }
  return out.slice(0, n);
}
