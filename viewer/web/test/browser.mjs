// What the scripts share that drive the page in Chromium by Playwright; a tests/test_viewer_*.py judges what they saw.
//     node test/SCRIPT.mjs CHROMIUM ADDRESS FOLDER ...    pictures into FOLDER, all else as JSON on stdout
import { join } from "node:path";
import { chromium } from "playwright-core";

export const [program, address, folder, ...rest] = process.argv.slice(2);
const args = ["--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"];
const browser = await chromium.launch({ executablePath: program, chromiumSandbox: process.getuid() !== 0, args });
const requests = [], errors = [];
let storageState; // the login, which pages share: an address logs one browser in, once

/** A page of its own size; with `touch` it has fingers and no mouse. Its requests and errors are recorded. */
export async function newPage(width, height, { touch = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, hasTouch: touch, isMobile: touch, storageState });
  // The clipboard belongs to the whole machine: tests that run beside each other would wait for it.
  await context.addInitScript(() => { if (navigator.clipboard) navigator.clipboard.writeText = async (text) => { window.copied = text; }; });
  const page = await context.newPage();
  page.on("request", (one) => requests.push(one.url()));
  page.on("console", (one) => one.type() === "error" && errors.push(one.text()));
  page.on("pageerror", (problem) => errors.push(String(problem)));
  return page;
}

/** Until the planes, the masks and the 3-D view of a scan are drawn. */
export async function drawn(page) {
  await page.waitForFunction(() => document.getElementById("at-crosshair")?.textContent);
  await page.waitForFunction(() => document.getElementById("busy").textContent === "");
  await page.waitForFunction(() => ["drawn", "failed"].includes(document.getElementById("render").dataset.state));
  await settled(page);
}

/** Open the viewer, at a part of its address such as `#at=1,2,3` too. */
export async function open(page, where = address) {
  await page.goto(where);
  await drawn(page);
  storageState = await page.context().storageState();
}

/** Until what was changed is drawn. */
export const settled = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

/** Press a button, which may be in a drawer where the page is narrow. */
export async function press(page, selector) {
  const button = page.locator(selector);
  if (!(await button.isVisible())) {
    const drawer = await button.evaluate((one) => one.closest("#bar, #run, #facts")?.id);
    await page.locator(`.drawer[aria-controls="${drawer}"]`).click();
  }
  await button.click();
}

/** A picture of an element, or of the page. */
export async function shot(page, selector, name) {
  await settled(page);
  const path = join(folder, `${name}.png`);
  await (selector ? page.locator(selector).first() : page).screenshot({ path });
}

export const texts = (page, selector) => page.locator(selector).allTextContents();

/** Close the browser and print what was seen. */
export async function end(seen) {
  await browser.close();
  process.stdout.write(JSON.stringify({ ...seen, requests, errors }));
}
