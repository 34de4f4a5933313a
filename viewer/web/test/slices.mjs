// Slices drawn without a browser: cases as JSON on stdin, pixels (RGBA, row by row) as JSON on stdout.
// tests/test_viewer_slices.py has the oracle.
import { text } from "node:stream/consumers";
import { build } from "esbuild";

const { outputFiles: [bundle] } = await build({
  stdin: { contents: 'export * from "./slice"; export * from "./geometry"', resolveDir: `${import.meta.dirname}/..` },
  bundle: true, write: false, format: "esm",
});
const { drawMasks, drawSlice, geometry, Grays, planeAxes } = await import(`data:text/javascript;base64,${Buffer.from(bundle.contents).toString("base64")}`);
const TYPES = { int16: Int16Array, float32: Float32Array, uint8: Uint8Array };
const volumeOf = ({ type, shape, step, values }) =>
  ({ geometry: geometry(shape, [0, 0, 0], step), data: TYPES[type].from(values), slope: 1, intercept: 0 });

const drawn = JSON.parse(await text(process.stdin)).map(({ ct, plane, index, size: [height, width], window, opacity, overlays }) => {
  const image = { width, height, data: new Uint8ClampedArray(4 * width * height) };
  const volume = volumeOf(ct);
  const over = overlays.map(({ mask, start, covers, colors }) =>
    ({ volume: volumeOf({ ...ct, ...mask, type: "uint8" }), start, covers, color: (label) => colors[label] ?? null }));
  drawSlice(volume, planeAxes(volume.geometry, plane), index, image, new Grays(), ...window);
  drawMasks(over, volume, planeAxes(volume.geometry, plane), index, image, opacity);
  return [...image.data];
});
process.stdout.write(JSON.stringify(drawn));
