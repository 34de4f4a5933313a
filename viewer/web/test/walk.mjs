// What a reader does with the page; tests/test_viewer_walk.py judges what it saw.
import { end, newPage, open, settled, shot } from "./browser.mjs";

const page = await newPage(1366, 768);
const pane = (id, name) => shot(page, `#${id} canvas`, name);
const names = () => page.locator("#scans li").evaluateAll((rows) => rows.map((row) => row.dataset.name));
const seen = {};
await open(page);
for (const id of ["axial", "coronal", "sagittal", "render"]) await pane(id, id);
await page.keyboard.press("2");
await pane("axial", "mediastinum");
await page.keyboard.press("1");
await pane("axial", "lung");
await page.locator("#mask").click();
await pane("axial", "bare");
await page.locator("#mask").click();
await pane("axial", "masked");
seen.nodules = await page.locator("#nodules li").count();
if (seen.nodules) {
  await page.locator("#nodules li").first().click();
  await settled(page);
  seen.voxel = await page.locator("#at-crosshair").getAttribute("data-voxel");
  seen.reading = await page.locator("#at-crosshair").textContent();
}
if (await page.locator("#order").isVisible()) { // one scan alone has no list, and no reviews
  seen.names = await names();
  await page.locator("#order").click();
  seen.reversed = await names();
  await page.locator("#order").click();
  await page.locator("#comment").fill("looks right");
  await page.locator("#accept").click();
  await page.waitForFunction(() => document.getElementById("saved").textContent === "saved");
  await open(page);
  seen.accepted = await page.locator("#accept").getAttribute("aria-pressed");
  seen.comment = await page.locator("#comment").inputValue();
}
await end(seen);
