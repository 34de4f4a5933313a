// Corrects masks; tests/test_viewer_edit.py says how, and judges what became of them.
//     node test/edit.mjs CHROMIUM ADDRESS FOLDER WIDTH HEIGHT touch|mouse ACTIONS(JSON)
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { drawn, end, newPage, open, rest, settled, shot, texts } from "./browser.mjs";

const [width, height, hand, actions] = rest;
const page = await newPage(Number(width), Number(height), { touch: hand === "touch" });
const fingers = hand === "touch" ? await page.context().newCDPSession(page) : null;
const servers = [];
const text = (selector) => page.locator(selector).textContent();

/** Where the canvas of a plane is, and how its slice lies on it. */
async function pane(plane) {
  const canvas = page.locator(`#${plane} canvas`);
  const { x, y, width: wide, height: high } = await canvas.boundingBox();
  const { index, scale } = await canvas.evaluate((one) => ({ ...one.dataset }));
  return { x, y, wide, high, index: Number(index), scale: Number(scale) };
}

async function touch(type, places) {
  await fingers.send("Input.dispatchTouchEvent", { type, touchPoints: places.map(([x, y], id) => ({ x, y, id })) });
}

const can = {
  key: (key) => page.keyboard.press(key),
  click: (selector) => page.locator(selector).first().click(),
  choose: (selector, label) => page.locator(selector).selectOption({ label }),
  value: (selector, value) => page.locator(selector).fill(String(value)),
  text,
  options: (selector) => texts(page, `${selector} option`),
  hidden: (selector) => page.locator(selector).isHidden(),
  shot: (selector, name) => shot(page, selector, name),
  pane,
  /** Goes through places of a pane, given as shares of its width and height; the pixels that were met are the answer. */
  async stroke(plane, shares) {
    const at = await pane(plane);
    const places = shares.map(([u, v]) => [Math.round(at.x + u * at.wide), Math.round(at.y + v * at.high)]);
    if (fingers) {
      await touch("touchStart", [places[0]]);
      for (const one of places.slice(1)) await touch("touchMove", [one]);
      await touch("touchEnd", []);
    } else {
      await page.mouse.move(...places[0]);
      await page.mouse.down();
      for (const one of places.slice(1)) await page.mouse.move(...one);
      await page.mouse.up();
    }
    return { ...at, places: places.map(([x, y]) => [x - at.x, y - at.y]) };
  },
  /** A second finger comes while the first one draws; both move apart. */
  async pinch(plane) {
    const at = await pane(plane);
    const [x, y] = [at.x + at.wide / 2, at.y + at.high / 2];
    await touch("touchStart", [[x, y]]);
    await touch("touchMove", [[x + 9, y]]);
    await touch("touchStart", [[x + 9, y], [x + 40, y]]);
    for (let by = 45; by < 90; by += 5) await touch("touchMove", [[x + 9, y], [x + by, y]]);
    await touch("touchEnd", []);
    return (await pane(plane)).scale / at.scale;
  },
  async save() {
    await page.locator("#save-mask").click();
    await page.waitForFunction(() => /^(not )?saved/.test(document.getElementById("edit-told").textContent));
    return text("#edit-told");
  },
  until: (selector, part) => page.waitForFunction(([one, two]) => document.querySelector(one).textContent.includes(two), [selector, part]),
  async reload() {
    await page.reload();
    await drawn(page);
  },
  wait: (program, ...words) => new Promise((done) => { spawn(program, words, { stdio: "ignore" }).on("exit", done); }),
  kill: (pid) => { process.kill(pid, "SIGKILL"); },
  async serve(...words) {
    const server = spawn(words[0], words.slice(1), { stdio: ["ignore", "pipe", "ignore"] });
    servers.push(server);
    for await (const line of createInterface({ input: server.stdout })) return open(page, line.trim());
  },
};

const log = [];
await open(page);
for (const [name, ...words] of JSON.parse(actions)) {
  const answer = await can[name](...words);
  await settled(page);
  log.push(["key", "click", "choose", "value", "shot", "until", "reload", "kill", "serve"].includes(name) ? null : answer);
}
servers.forEach((server) => server.kill());
await end({ log });
