// Volumes taken in without a browser: node test/volumes.mjs FILE FIRST SLICES [CUT | MORE | HUGE]
// FILE is what the server answered. Prints the voxels and what was here on the way; tests/test_viewer_parts.py judges.
import { readFileSync } from "node:fs";
import { build } from "esbuild";

const [file, first, slices, how] = process.argv.slice(2);
const { outputFiles: [bundle] } = await build({ entryPoints: [`${import.meta.dirname}/../api.ts`], bundle: true, write: false, format: "esm" });
const { getVolume } = await import(`data:text/javascript;base64,${Buffer.from(bundle.contents).toString("base64")}`);
const body = readFileSync(file);
const sent = how === "CUT" ? body.subarray(0, -5) : how === "MORE" ? Buffer.concat([body, body.subarray(0, 5)]) : body;

globalThis.fetch = async () => new Response(new ReadableStream({
  start(controller) {
    for (let at = 0, length = 1; at < sent.length; at += length, length = (length * 7 + 3) % 50021) {
      controller.enqueue(new Uint8Array(sent.subarray(at, at + length)));
    }
    controller.close();
  },
}), { headers: { "content-length": String(how === "HUGE" ? 2 ** 50 : body.length) } });

const here = [];
const part = { url: "ct.nii", bytes: body.length, shape: [Number(slices), 1, 1], first: Number(first) };
try {
  const { data } = await getVolume(part, new AbortController().signal, (share, { volume, isHere }) => {
    const size = volume.data.length / part.shape[0];
    const now = Array.from({ length: part.shape[0] }, (_, slice) => slice).filter(isHere);
    here.push([share, now, now.map((slice) => volume.data.subarray(slice * size, (slice + 1) * size).reduce((sum, value) => sum + value, 0))]);
  });
  process.stdout.write(JSON.stringify({ here, data: [...data] }));
} catch (error) {
  process.stdout.write(JSON.stringify({ error: error.message }));
}
