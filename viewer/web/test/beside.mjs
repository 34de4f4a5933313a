// Two volumes beside each other; tests/test_viewer_face.py judges what it saw.
import { end, newPage, open, press, settled, shot } from "./browser.mjs";

const seen = {};
for (const width of [1920, 1366, 800, 400]) {
  const page = await newPage(width, 780, { touch: width <= 800 });
  await open(page);
  const told = (seen[width] = {});
  const look = async () => {
    await settled(page);
    const at = {};
    for (const plane of ["axial", "coronal", "sagittal"]) {
      for (const side of ["", "-beside"]) at[`${plane}${side}`] = await page.locator(`#${plane}${side} canvas`).getAttribute("data-index");
    }
    return { ...at, world: (await page.locator("#at-crosshair").getAttribute("data-world")).split(",").map(Number) };
  };
  await press(page, "#compare");
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.querySelector("#axial-beside canvas").dataset.index !== undefined && document.getElementById("loading").hidden);
  told.title = await page.locator("#compare").getAttribute("title");
  told.panes = await page.locator(".pane:visible").evaluateAll((panes) => panes.map(({ id }) => id).sort());
  told.coupled = await look();
  await shot(page, null, `${width}-beside`);
  const hover = async (pane) => { // fingers do not hover: a tap chooses the pane, and sets the crosshair
    await page.locator(`#${pane} canvas`).dispatchEvent("pointerenter");
    await settled(page);
  };
  await hover("axial");
  await page.keyboard.press("ArrowUp");
  told.stepped = await look();
  await page.keyboard.press("u");
  await hover("axial-beside");
  await page.keyboard.press("PageDown");
  told.alone = await look();
  await hover("axial");
  await page.keyboard.press("ArrowUp");
  told.other = await look();
  await page.keyboard.press("u");
  await page.keyboard.press("ArrowUp");
  told.again = await look();
  await page.keyboard.press("0");
  told.reset = await look();
  await page.context().close();
}
await end(seen);
