// What a reader does with the page, in a browser driven by Playwright; tests/test_viewer_walk.py judges what it saw.
//     node test/walk.mjs CHROMIUM ADDRESS FOLDER    pictures into FOLDER, all else as JSON on stdout
import { join } from "node:path";
import { chromium } from "playwright-core";

const [program, address, folder] = process.argv.slice(2);
const args = ["--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"];
const browser = await chromium.launch({ executablePath: program, chromiumSandbox: process.getuid() !== 0, args });
const page = await browser.newPage({ viewport: { width: 1366, height: 768 } });
const requests = [], errors = [];
page.on("request", (one) => requests.push(one.url()));
page.on("console", (one) => one.type() === "error" && errors.push(one.text()));
page.on("pageerror", (problem) => errors.push(String(problem)));

const settled = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
const texts = (selector) => page.locator(selector).allTextContents();
const shot = async (pane, name) => {
  await settled();
  await page.locator(`#${pane} canvas`).first().screenshot({ path: join(folder, `${name}.png`) });
};
const open = async () => {
  await page.goto(address);
  await page.waitForFunction(() => document.getElementById("at-crosshair")?.textContent);
  await page.waitForFunction(() => document.getElementById("busy").textContent === "");
  await page.waitForFunction(() => document.getElementById("render").dataset.state === "drawn");
};

const seen = {};
await open();
for (const pane of ["axial", "coronal", "sagittal", "render"]) await shot(pane, pane);
await page.keyboard.press("2");
await shot("axial", "mediastinum");
await page.keyboard.press("1");
await shot("axial", "lung");
await page.locator("#mask").click();
await shot("axial", "bare");
await page.locator("#mask").click();
await shot("axial", "masked");
seen.nodules = await page.locator("#nodules li").count();
if (seen.nodules) {
  await page.locator("#nodules li").first().click();
  await settled();
  seen.voxel = await page.locator("#at-crosshair").getAttribute("data-voxel");
  seen.reading = await page.locator("#at-crosshair").textContent();
}
if (await page.locator("#order").isVisible()) { // one scan alone has no list, and no reviews
  seen.names = await texts("#scans .name");
  await page.locator("#order").click();
  seen.reversed = await texts("#scans .name");
  await page.locator("#order").click();
  await page.locator("#comment").fill("looks right");
  await page.locator("#accept").click();
  await page.waitForFunction(() => document.getElementById("saved").textContent === "saved");
  await open();
  seen.accepted = await page.locator("#accept").getAttribute("aria-pressed");
  seen.comment = await page.locator("#comment").inputValue();
}
await browser.close();
process.stdout.write(JSON.stringify({ ...seen, requests, errors }));
