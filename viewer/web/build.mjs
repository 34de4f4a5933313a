// Bundle the page into the package: the page's own part, the 3-D part (NiiVue), and the licenses of what is in it.

import { build } from "esbuild";
import { mkdirSync, readdirSync, readFileSync, writeFileSync, copyFileSync, existsSync, rmSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.env.HILUM_PAGE_FOLDER ?? join(here, "../../src/hilum/viewer/page");

// NiiVue brings the codecs of Zarr: 1.4 MB, of WebAssembly, for a format that never reaches the page.
const noCodecs = {
  name: "no-codecs",
  setup(building) {
    building.onResolve({ filter: /^numcodecs/ }, ({ path }) => ({ path, namespace: "no-codecs" }));
    building.onLoad({ filter: /.*/, namespace: "no-codecs" }, () => ({ contents: "export default undefined" }));
  },
};

const common = {
  absWorkingDir: here, bundle: true, minify: true, format: "esm", target: "es2022", charset: "ascii", legalComments: "none",
  metafile: true, logLevel: "warning", plugins: [noCodecs],
};

/** Packages whose code is in a bundle, with their licenses' texts. */
function licenses(inputs) {
  const packages = new Set();
  for (const file of Object.keys(inputs)) {
    const parts = file.split(/[\\/]/);
    const at = parts.lastIndexOf("node_modules");
    if (at >= 0) packages.add(parts.slice(0, parts[at + 1].startsWith("@") ? at + 3 : at + 2).join(sep));
  }
  return [...packages].sort().map((folder) => {
    const about = JSON.parse(readFileSync(join(here, folder, "package.json"), "utf8"));
    const file = readdirSync(join(here, folder)).find((name) => /^licen[cs]e/i.test(name));
    const ours = join(here, "licenses", `${about.name.replace("/", "-")}.txt`);
    const text = file ? readFileSync(join(here, folder, file), "utf8") : existsSync(ours) ? readFileSync(ours, "utf8") : null;
    if (text === null) throw new Error(`${about.name}: no text of its license (${about.license})`);
    return `${about.name} ${about.version} (${about.license})\n\n${text.trim()}\n`;
  });
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const page = await build({ ...common, entryPoints: ["main.ts"], outfile: join(out, "viewer.js"), external: ["./render.js"] });
const render = await build({ ...common, entryPoints: ["render.ts"], outfile: join(out, "render.js") });
const style = await build({ ...common, entryPoints: ["style.css"], outfile: join(out, "viewer.css") });
copyFileSync(join(here, "index.html"), join(out, "index.html"));
const inputs = { ...page.metafile.inputs, ...render.metafile.inputs, ...style.metafile.inputs };
writeFileSync(join(out, "licenses.txt"), licenses(inputs).join(`\n${"-".repeat(80)}\n\n`));
for (const name of readdirSync(out).sort()) console.log(`${name} ${readFileSync(join(out, name)).length} bytes`);
