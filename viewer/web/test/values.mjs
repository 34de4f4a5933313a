// What the page computes from voxels, without a browser: cases as JSON on stdin, answers as JSON on stdout.
// tests/test_viewer_values.py has the oracles.
import { text } from "node:stream/consumers";
import { build } from "esbuild";

const modules = ["agreement", "circle", "geometry", "outline", "profile", "slab"].map((name) => `export * from "./${name}";`);
const { outputFiles: [bundle] } = await build({
  stdin: { contents: modules.join(""), resolveDir: `${import.meta.dirname}/..` }, bundle: true, write: false, format: "esm",
});
const page = await import(`data:text/javascript;base64,${Buffer.from(bundle.contents).toString("base64")}`);
const TYPES = { int16: Int16Array, float32: Float32Array, uint8: Uint8Array };
const volumeOf = ({ type, shape, origin, step, values, slope = 1, intercept = 0 }) =>
  ({ geometry: page.geometry(shape, origin, step), data: TYPES[type].from(values), slope, intercept });

const ANSWERS = {
  slab({ ct, plane, index, kind, mm }) {
    const volume = volumeOf(ct);
    const axes = page.planeAxes(volume.geometry, plane);
    return { range: page.slabRange(volume, axes, index, mm), through: axes.through, values: [...page.slabOf(volume, axes, index, kind, mm).data] };
  },
  circle({ ct, plane, from, to }) {
    const volume = volumeOf(ct);
    return { found: page.statistics(volume, { plane, from, to, circle: true }), through: page.planeAxes(volume.geometry, plane).through };
  },
  profile({ ct, from, to }) {
    return page.profileOf(volumeOf(ct), { plane: "axial", from, to, circle: false });
  },
  agreement({ ct, a, b, plane }) {
    const volume = volumeOf(ct);
    const masks = [a, b].map(({ shape, start, labels, values }) =>
      ({ volume: volumeOf({ ...ct, type: "uint8", shape, values }), start, labels }));
    const found = page.compare(volume, ...masks);
    return { dice: found.dice, ml: found.ml, start: found.start, shape: found.volume.geometry.shape, values: [...found.volume.data],
      worst: page.largestDisagreement(found, plane), through: page.planeAxes(volume.geometry, plane).through };
  },
  /** The pixels that an outline fills, on a canvas where a voxel is `size` pixels wide. */
  outline({ ct, mask, start, plane, index, size }) {
    const volume = volumeOf(ct);
    const axes = page.planeAxes(volume.geometry, plane);
    const [columns, rows] = [axes.across, axes.down].map((axis) => volume.geometry.shape[axis] * size);
    const picture = new Uint8Array(columns * rows);
    const paint = { set fillStyle(color) { this.value = Number(color.slice(4).split(",")[0]); },
      fillRect(x, y, wide, high) {
        for (let v = y; v < y + high; v++) for (let u = x; u < x + wide; u++) picture[v * columns + u] = this.value;
      } };
    const along = (axis, sign, at) => (sign > 0 ? at + 0.5 : volume.geometry.shape[axis] - 0.5 - at) * size;
    const overlay = { volume: volumeOf({ ...ct, ...mask, type: "uint8" }), start, color: (label) => (label === 9 ? null : [label, 0, 0]) };
    page.drawOutlines(paint, page.outlinesOf([overlay], axes, index), axes, 1, (across, down) => [along(axes.across, axes.acrossSign, across), along(axes.down, axes.downSign, down)]);
    return { rows, columns, pixels: [...picture], ...axes };
  },
};
process.stdout.write(JSON.stringify(JSON.parse(await text(process.stdin)).map(({ ask, ...given }) => ANSWERS[ask](given)),
  (_, value) => (Number.isNaN(value) ? "nan" : value)));
