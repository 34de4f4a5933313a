// The page at four widths: where it opens, names, places, links, header fields, keys, mouse and fingers.
// tests/test_viewer_face.py judges what it saw.
import { drawn, end, newPage, open, press, settled, shot, texts } from "./browser.mjs";

const seen = {};

const attribute = (page, selector, name) => page.locator(selector).getAttribute(name);
const voxel = async (page) => { await settled(page); return (await attribute(page, "#at-crosshair", "data-voxel")).split(",").map(Number); };
const world = async (page) => { await settled(page); return (await attribute(page, "#at-crosshair", "data-world")).split(",").map(Number); };
const indices = async (page, side = "") => {
  await settled(page);
  const found = {};
  for (const plane of ["axial", "coronal", "sagittal"]) found[plane] = Number(await attribute(page, `#${plane}${side} canvas`, "data-index"));
  return found;
};
const scale = async (page) => { await settled(page); return Number(await attribute(page, "#axial canvas", "data-scale")); };
const box = (page, selector) => page.locator(selector).boundingBox();
const pressed = (page, id) => attribute(page, `#${id}`, "aria-pressed");

/** What is cut, too small for a finger, or over something else that can be pressed. */
const faults = (page, least) => page.evaluate((size) => {
  const bad = [];
  const shown = [...document.querySelectorAll("button, select, input, textarea, summary, h1, footer output, #count")].filter((one) => one.checkVisibility());
  const inside = (one) => { // of what it scrolls in
    const place = one.getBoundingClientRect();
    const around = one.closest("aside, dialog")?.getBoundingClientRect() ?? { top: 0, bottom: innerHeight };
    return place.width > 0 && place.top < around.bottom && place.bottom > around.top;
  };
  const places = shown.filter(inside).map((one) => [one.id || one.textContent, one.getBoundingClientRect(), one]);
  for (const [name, place, one] of places) {
    if (place.left < -0.5 || place.right > innerWidth + 0.5) bad.push(`${name} is cut`);
    if (one.scrollWidth > one.clientWidth + 1 && one.matches("button, footer output")) bad.push(`${name} does not fit`);
    if (one.matches("button, select, input, summary") && Math.min(place.height, place.width) < size) bad.push(`${name || one.className} is ${place.width} x ${place.height}`);
  }
  const onTop = (one, { left, right, top, bottom }) => one.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2)); // no drawer hides it
  const pressable = places.filter(([, place, one]) => one.matches("button, select, input") && onTop(one, place));
  for (const [i, [name, a]] of pressable.entries()) {
    for (const [other, b] of pressable.slice(i + 1)) {
      if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1) bad.push(`${name} is over ${other}`);
    }
  }
  if (document.scrollingElement.scrollWidth > innerWidth) bad.push("the page is wider than the window");
  return bad;
}, least);

async function jump(page, way, text) {
  await page.keyboard.press("g");
  await page.locator("#jump-axes").selectOption(way);
  await page.locator("#jump-place").fill(text);
  await page.keyboard.press("Enter");
  const told = await page.locator("#jump-trouble").textContent();
  if (told) await page.keyboard.press("Escape");
  return { told, voxel: await voxel(page), open: await page.locator("#jump").isVisible() };
}

/** Fingers by the browser's own protocol: each step gives the places of all that are down. */
async function fingers(page, ...steps) {
  const protocol = await page.context().newCDPSession(page);
  const send = (type, points) => protocol.send("Input.dispatchTouchEvent", { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
  await send("touchStart", steps[0]);
  for (const points of steps.slice(1)) await send("touchMove", points);
  await send("touchEnd", []);
  await settled(page);
}

async function byFingers(page, told) {
  const { x, y, width, height } = await box(page, "#axial canvas");
  const [cx, cy] = [x + width / 2, y + height / 2];
  await page.keyboard.press("t");
  const start = await indices(page);
  await fingers(page, [[cx, cy]], [[cx, cy - 6]], [[cx, cy - 30]], [[cx, cy - 60]]);
  told.swiped = [start.axial, (await indices(page)).axial];
  told.beforeTap = await voxel(page);
  await fingers(page, [[cx + width / 8, cy + height / 10]]);
  told.tapped = await voxel(page);
  await new Promise((later) => setTimeout(later, 400)); // so that the next tap is no second one
  await page.keyboard.press("c");
  await fingers(page, [[cx, cy]], [[cx + 10, cy + 10]], [[cx - width / 8, cy - height / 10]]);
  told.dragged = await voxel(page);
  const [before, held] = [await scale(page), await voxel(page)];
  await fingers(page, [[cx - 20, cy], [cx + 20, cy]], [[cx - 30, cy], [cx + 30, cy]], [[cx - 40, cy + 10], [cx + 40, cy + 10]]);
  told.pinched = [before, await scale(page), held, await voxel(page)];
  await page.keyboard.press("0");
  told.reset = [before, await scale(page)];
  await fingers(page, [[cx, cy]]);
  await fingers(page, [[cx, cy]]);
  told.alone = await page.locator(".pane:visible").evaluateAll((panes) => panes.map((pane) => pane.id));
  await new Promise((later) => setTimeout(later, 500));
  await fingers(page, [[cx, cy]]);
  await fingers(page, [[cx, cy]]);
  told.together = await page.locator(".pane:visible").count();
}

async function byMouse(page, told) {
  const { x, y, width, height } = await box(page, "#axial canvas");
  const [cx, cy] = [x + width / 2, y + height / 2];
  const scales = [await scale(page)];
  await page.mouse.move(cx, cy);
  await page.keyboard.down("Control");
  await page.mouse.wheel(0, -100);
  await page.keyboard.up("Control");
  scales.push(await scale(page));
  await page.keyboard.press("+");
  scales.push(await scale(page));
  await page.keyboard.press("-");
  scales.push(await scale(page));
  const place = await voxel(page);
  await page.keyboard.press("x");
  await shot(page, "#axial canvas", `${told.width}-unmoved`);
  await page.keyboard.down("Shift");
  await page.mouse.down();
  await page.mouse.move(cx + 40, cy + 20);
  await page.mouse.up();
  await page.keyboard.up("Shift");
  await shot(page, "#axial canvas", `${told.width}-moved`);
  await page.keyboard.press("x");
  told.panned = [place, await voxel(page)];
  await press(page, "#reset");
  scales.push(await scale(page));
  told.scales = scales;
  await page.mouse.wheel(0, 100);
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("t");
  const start = await indices(page);
  await page.mouse.move(cx, cy);
  await page.mouse.down();
  await page.mouse.move(cx, cy - 12);
  await page.mouse.move(cx, cy - 30);
  await page.mouse.up();
  told.swiped = [start.axial, (await indices(page)).axial];
  await page.keyboard.press("c");
  await press(page, "#full");
  await page.waitForFunction(() => document.fullscreenElement !== null);
  await press(page, "#full");
  await page.waitForFunction(() => document.fullscreenElement === null);
}

async function links(page, told) {
  await jump(page, "voxel", "20, 30, 25");
  await page.keyboard.press("2");
  for (const key of ["I", "x", "r", "+", "+", "f"]) await page.keyboard.press(key);
  const kept = async () => ({
    voxel: await voxel(page), window: await page.locator("#window").textContent(), scale: await scale(page).catch(() => 0), invert: await pressed(page, "invert"),
    rings: await pressed(page, "rings"), masks: await pressed(page, "mask"), panes: await page.locator(".pane:visible").evaluateAll((all) => all.map(({ id }) => id)),
  });
  told.kept = [await kept()];
  await page.keyboard.press("y");
  await page.waitForFunction(() => document.getElementById("notice").textContent !== "", null, { polling: 100 });
  const link = await page.evaluate(() => window.copied);
  told.link = link;
  await open(page);
  told.kept.push(await kept());
  await page.goto("about:blank");
  await page.goto(link);
  await drawn(page);
  told.kept.push(await kept());
  told.landed = page.url();
  told.notice = await page.locator("#notice").isVisible();
  if (told.touch || told.width === 1920) return;
  const { origin } = new URL(link);
  told.bad = [];
  for (const hash of ["#at=1e9,0,0&window=lung", "#scan=%3Cscript%3E&at=x", "#nothing", `#${"x".repeat(5000)}`, "#at=%ff&axial=0,0,0"]) {
    await page.goto("about:blank");
    await page.goto(`${origin}/link/${hash}`);
    await page.waitForFunction(() => document.getElementById("notice")?.textContent, null, { polling: 100 });
    told.bad.push(await page.locator("#notice").textContent());
  }
}

for (const width of [1920, 1366, 800, 400]) {
  const touch = width <= 800;
  const page = await newPage(width, width === 1920 ? 1080 : width === 400 ? 780 : 768, { touch });
  const told = { width, touch };
  seen[width] = told;
  await open(page);
  Object.assign(told, { opened: await voxel(page), opened_world: await world(page), indices: await indices(page), reading: await page.locator("#at-crosshair").textContent() });
  await shot(page, null, `${width}-page`);
  await shot(page, "#render canvas", `${width}-render`);
  told.faults = await faults(page, touch ? 32 : 0);
  for (const drawer of ["show-run", "show-tools", "show-facts"]) {
    if (!(await page.locator(`#${drawer}`).isVisible())) continue;
    await page.locator(`#${drawer}`).click();
    (told.drawers ??= []).push(drawer);
    await shot(page, null, `${width}-${drawer}`);
    told.faults.push(...(await faults(page, touch ? 32 : 0)));
    await page.keyboard.press("Escape");
  }
  await page.keyboard.press("?");
  await shot(page, null, `${width}-keys`);
  told.faults.push(...(await faults(page, touch ? 32 : 0)));
  await page.keyboard.press("Escape");
  told.figures = await page.locator("#figures").textContent();
  const isRun = await page.locator("#scans li").count() > 1;
  if (isRun) {
    told.titles = await texts(page, "#scans .name");
    told.ids = await texts(page, "#scans .id");
    told.found = [];
    for (const words of told.searched = [told.titles[0], (await attribute(page, "#scans li >> nth=1", "data-name")), "no such scan"]) {
      await page.keyboard.press("/");
      await page.locator("#search").fill(words);
      told.found.push(await texts(page, "#scans .name"));
    }
    await page.locator("#search").fill("");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
  }
  told.jumps = [];
  for (const [way, text] of [["voxel", "(7, 21, 30)"], ["voxel", "7 21 3000"], ["voxel", "1, 2"], ["lps", "a, b, c"], ["lps", "9999, 0, 0"]]) told.jumps.push(await jump(page, way, text));
  const there = await world(page);
  await jump(page, "voxel", "1, 2, 3");
  told.jumps.push(await jump(page, "lps", there.map((one) => one.toFixed(2)).join(" ")));
  await jump(page, "voxel", "1, 2, 3");
  told.jumps.push(await jump(page, "ras", [-there[0], -there[1], there[2]].map((one) => one.toFixed(2)).join("; ")));
  await page.evaluate(() => { document.getElementById("tags").open = true; });
  told.tags = await texts(page, "#tag-list dt, #tag-list dd");
  if (!(await page.locator("#tag-search").isVisible())) await page.locator("#show-facts").click();
  await page.locator("#tag-search").fill("spacing");
  told.tagsFound = await texts(page, "#tag-list dt");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  for (const key of ["l", "r", "x", "i"]) await page.keyboard.press(key);
  await shot(page, "#axial canvas", `${width}-gray`);
  await press(page, "#invert");
  await page.keyboard.press("Escape");
  await shot(page, "#axial canvas", `${width}-inverted`);
  await open(page);
  await (touch ? byFingers : byMouse)(page, told);
  await links(page, told);
  await page.context().close();
}

// Every key that does something is in the list, and the other way round.
const page = await newPage(1366, 768);
await open(page);
seen.listed = (await page.locator("#key-list dt").evaluateAll((keys) => keys.flatMap((key) => JSON.parse(key.dataset.keys)))).sort();
seen.shown = (await texts(page, "#key-list dt")).join(" ");
seen.working = await page.evaluate(() => {
  const named = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End", "Backspace", "Delete", "Escape", "Enter", "Tab", " ", "Insert", "F1", "F2", "F11"];
  const printed = Array.from({ length: 94 }, (_, k) => String.fromCharCode(33 + k));
  const works = (key) => {
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
    document.activeElement?.blur();
    const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
    return event.defaultPrevented;
  };
  return [...named, ...printed].filter(works).sort();
});
await end(seen);
