// What the panes show as one PNG. It names the scan as the list does, and holds nothing that is not on the screen.

import { freshRender } from "./scene";
import { element, state } from "./state";

export async function screenshot(): Promise<void> {
  const panes = element("panes");
  const ratio = window.devicePixelRatio || 1;
  const sheet = document.createElement("canvas");
  sheet.width = Math.round(panes.clientWidth * ratio);
  sheet.height = Math.round(panes.clientHeight * ratio);
  const paint = sheet.getContext("2d")!;
  paint.fillStyle = "#000";
  paint.fillRect(0, 0, sheet.width, sheet.height);
  const render = await freshRender();
  for (const section of panes.querySelectorAll<HTMLElement>(".pane")) {
    if (section.hidden) continue;
    const canvas = section.id === "render" ? render : section.querySelector("canvas");
    if (!canvas || canvas.width === 0) continue;
    paint.drawImage(canvas, section.offsetLeft * ratio, section.offsetTop * ratio, section.clientWidth * ratio, section.clientHeight * ratio);
  }
  const blob = await new Promise<Blob | null>((give) => sheet.toBlob(give, "image/png"));
  if (!blob) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${(state.row?.name ?? "hilum").replace(/[^A-Za-z0-9._-]+/g, "_")}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
