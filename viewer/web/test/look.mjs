// Outlines, slabs, circles, profiles, cine, two masks, detections by probability, at four widths; tests/test_viewer_look.py
// judges what was seen.  node test/look.mjs CHROMIUM ADDRESS FOLDER MASK_A MASK_B
import { drawn, end, newPage, open, rest, settled, shot, texts } from "./browser.mjs";

const [maskA, maskB] = rest;
const SIZES = [[1920, 1080], [1366, 768], [800, 1000], [400, 800]];
const seen = {};

const attribute = (page, selector, name) => page.locator(selector).getAttribute(name);
const data = (page, selector) => page.locator(selector).evaluate((one) => ({ ...one.dataset }));
const index = async (page, pane) => Number(await attribute(page, `#${pane} canvas`, "data-index"));

/** The panel View, which is in a drawer where the page is narrow. */
async function panel(page) {
  if (!(await page.locator("#facts").isVisible())) await page.locator("#show-facts").click();
  if (!(await page.locator("#look details").evaluate((one) => one.open))) await page.locator("#look summary").click();
  await settled(page);
}

/** To the planes again. */
async function planes(page) {
  if (await page.locator("#show-facts").isVisible() && await page.locator("#facts").isVisible()) await page.locator("#show-facts").click();
  await page.evaluate(() => document.activeElement?.blur());
  await settled(page);
}

const slide = (page, selector, value) => page.locator(selector).evaluate((one, wanted) => {
  one.value = String(wanted);
  one.dispatchEvent(new Event("input"));
}, value);

/** Drag with a tool in the axial plane; where from and to, from the middle of the canvas. */
async function drag(page, tool, from, to) {
  await page.keyboard.press(tool);
  const { x, y, width, height } = await page.locator("#axial canvas").boundingBox();
  const at = ([right, down]) => [x + width / 2 + right, y + height / 2 + down];
  await page.mouse.move(...at(from));
  await page.mouse.down();
  await page.mouse.move(...at(to), { steps: 3 });
  await page.mouse.up();
  await page.keyboard.press("c");
  await settled(page);
  await settled(page);
}

async function views(page, name) {
  const found = {};
  for (const pane of ["axial", "coronal", "sagittal"]) {
    await shot(page, `#${pane} canvas`, `${name}-${pane}`);
    found[pane] = { ...(await data(page, `#${pane} canvas`)) };
  }
  return found;
}

async function walk(width, height) {
  const page = await newPage(width, height);
  await open(page);
  const told = { overflow: await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth || document.documentElement.scrollHeight > window.innerHeight) };
  const name = String(width);
  await shot(page, null, `${name}-start`);
  for (const pane of ["axial", "coronal", "sagittal"]) await slide(page, `#${pane} .slices`, 30);
  await settled(page);
  await settled(page);
  told.slid = { axial: await index(page, "axial"), coronal: await index(page, "coronal"), sagittal: await index(page, "sagittal") };

  // Bare gray voxels, as squares, in the full window: a pixel tells the value of a voxel.
  for (const key of "5lrxi") await page.keyboard.press(key);
  told.slabs = {};
  for (const kind of ["mip", "mean", "minip"]) {
    await panel(page);
    await page.locator("#slab").selectOption(kind);
    await slide(page, "#slab-mm", 20);
    await planes(page);
    told.slabs[kind] = await views(page, `${name}-${kind}`);
  }
  await page.keyboard.press("z");
  await settled(page);
  await settled(page);
  told.noSlab = await page.locator("#slab").inputValue();
  told.gray = await views(page, `${name}-gray`);

  await drag(page, "o", [-20, -10], [-4, -2]);
  told.circle = await data(page, "#circle");
  told.circleText = await texts(page, "#circle dd");
  await page.keyboard.press("1");
  await shot(page, null, `${name}-circle`);
  await drag(page, "m", [-40, -20], [30, 35]);
  told.profile = await data(page, "#profile");
  await panel(page);
  await page.locator("#profile svg").hover({ position: { x: 60, y: 40 } });
  told.hover = await page.locator("#profile-at").textContent();
  told.hoverShare = await page.locator("#profile svg").evaluate((one) => 60 / one.getBoundingClientRect().width);
  await shot(page, null, `${name}-profile`);
  await planes(page);
  await page.keyboard.press("Delete");
  await settled(page);
  told.afterOne = await page.locator("#circle").count();
  await page.keyboard.press("Delete");
  await settled(page);
  told.afterTwo = await page.locator("#measure").getAttribute("hidden");

  // Masks again, without the lines of the crosshair: filled, as outlines, compared.
  await page.keyboard.press("l");
  await settled(page);
  await shot(page, "#axial canvas", `${name}-fill-axial`);
  await page.keyboard.press("h");
  await settled(page);
  await shot(page, "#axial canvas", `${name}-outline-axial`);
  await panel(page);
  told.outline = await attribute(page, "#outline", "aria-pressed");
  await page.locator("#fill").click();
  told.masks = await texts(page, "#mask-a option");
  await page.locator("#mask-a").selectOption({ label: maskA });
  await page.locator("#mask-b").selectOption({ label: maskB });
  await page.waitForFunction(() => !document.getElementById("agreement").hidden);
  told.agreement = await data(page, "#agreement");
  told.figures = await texts(page, "#agreement-figures dd");
  told.grid = await page.locator("#agreement-grid").textContent();
  await page.locator("#agreement").scrollIntoViewIfNeeded();
  await shot(page, null, `${name}-panel`);
  await planes(page);
  await page.locator("#axial canvas").hover();
  await page.keyboard.press("j");
  await settled(page);
  told.worst = await attribute(page, "#at-crosshair", "data-voxel");
  told.compared = await views(page, `${name}-compared`);
  await shot(page, null, `${name}-all`);

  if (await page.locator("#marks").evaluate((one) => !one.hidden)) {
    await page.keyboard.press("r");
    await slide(page, "#least", 500);
    await settled(page);
    told.count = await page.locator("#detection-count").textContent();
    told.least = await page.locator("#shown-least").textContent();
    told.listed = await page.locator("#detections li:not([hidden])").evaluateAll((all) => all.map((one) => one.querySelector("p").firstChild.textContent));
    await panel(page);
    await shot(page, null, `${name}-marks`);
    await slide(page, "#least", 0);
    await planes(page);
  }
  if (width === 1366) {
    if (maskA === "Lungs") told.edited = await edit(page);
    told.cine = await cine(page);
    await page.keyboard.press("z");
    await page.keyboard.press("h");
    await page.keyboard.press("y");
    told.link = await page.evaluate(() => window.copied);
    await page.goto(told.link);
    await drawn(page);
    await page.waitForFunction(() => !document.getElementById("agreement").hidden);
    told.linked = { slab: await page.locator("#slab").inputValue(), outline: await attribute(page, "#outline", "aria-pressed"),
      dice: await attribute(page, "#agreement", "data-dice") };
  }
  await page.context().close();
  return told;
}

/** Correct a mask that is compared: meanwhile it is drawn alone, then both are compared anew. */
async function edit(page) {
  const now = () => page.locator("#agreement").evaluate((one) => ({ hidden: one.hidden, ...one.dataset }));
  const before = await now();
  await page.keyboard.press("e");
  await page.waitForFunction(() => document.getElementById("panes").dataset.tool === "edit");
  const { x, y } = await page.locator("#axial canvas").boundingBox();
  await page.mouse.move(x + 60, y + 60);
  await page.waitForFunction(() => document.getElementById("busy").textContent === "");
  await page.mouse.down();
  await page.mouse.move(x + 120, y + 90, { steps: 5 });
  await page.mouse.up();
  await page.waitForFunction(() => document.getElementById("agreement").hidden);
  const during = await now();
  await page.keyboard.press("e");
  await page.waitForFunction(() => !document.getElementById("agreement").hidden);
  const after = await now();
  await page.keyboard.press("e");
  await page.keyboard.press("Control+z");
  await page.keyboard.press("e");
  await settled(page);
  await settled(page);
  return { before, during, after };
}

/** Play until so many slices went by. The page's clock and its count of slices are of one frame, so the rate is exact. */
async function cine(page) {
  const first = await index(page, "axial");
  await page.keyboard.press(" ");
  await page.waitForFunction(() => Number(document.getElementById("play").dataset.done) >= 6);
  const playing = { ...(await data(page, "#play")), name: await page.locator("#play").textContent(), speed: await page.locator("#speed").inputValue() };
  await page.keyboard.press(" ");
  const paused = { ...(await data(page, "#play")), name: await page.locator("#play").textContent() };
  await settled(page);
  await settled(page);
  const last = await index(page, "axial");
  await page.waitForTimeout(300);
  const still = (await index(page, "axial")) === last;
  await page.keyboard.press(".");
  const faster = await page.locator("#speed").inputValue();
  await page.keyboard.press(",");
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.reload();
  await drawn(page);
  const calm = await page.locator("#speed").inputValue();
  const at = await page.locator("#axial .slices").evaluate((one) => Number(one.max) - 1);
  await slide(page, "#axial .slices", at);
  await slide(page, "#speed", 60);
  await page.locator("#axial canvas").hover();
  await page.keyboard.press(" ");
  await page.waitForFunction(() => document.getElementById("play").textContent === "Play");
  await settled(page);
  const end = await page.locator("#axial .slices").evaluate((one) => one.value === one.max);
  await page.emulateMedia({ reducedMotion: "no-preference" });
  await page.reload();
  await drawn(page);
  await panel(page);
  await page.locator("#mask-a").selectOption({ label: maskA });
  await page.locator("#mask-b").selectOption({ label: maskB });
  await page.waitForFunction(() => !document.getElementById("agreement").hidden);
  await planes(page);
  return { first, playing, paused, last, still, faster, calm, end };
}

for (const [width, height] of SIZES) seen[width] = await walk(width, height);
await end({ seen });
