// A link to a view is made, or one follows a link that an earlier viewer made; tests/test_viewer_face.py judges.
import { drawn, end, newPage, open, rest } from "./browser.mjs";

const [made] = rest;
const page = await newPage(1366, 768);
await open(page);
const seen = { folder: new URL(page.url()).pathname };
if (made) {
  await page.goto("about:blank");
  await page.goto(made);
  await drawn(page);
} else {
  await page.keyboard.press("g");
  await page.locator("#jump-place").fill("20, 30, 25");
  await page.keyboard.press("Enter");
  await page.keyboard.press("y");
  await page.waitForFunction(() => document.getElementById("notice").textContent !== "", null, { polling: 100 });
  seen.link = await page.evaluate(() => window.copied);
}
await end({ ...seen, voxel: await page.locator("#at-crosshair").getAttribute("data-voxel") });
