"use strict";
// Draws the list of scans from the JSON in this page. Text becomes text nodes only; nothing is ever parsed as HTML.
(() => {
  const byId = (id) => document.getElementById(id);
  const scans = JSON.parse(byId("scans").textContent);
  const levels = JSON.parse(byId("levels").textContent);
  const list = byId("list");
  const body = list.tBodies[0];

  function make(tag, attributes, ...children) {
    const svg = tag.startsWith("svg:");
    const node = svg
      ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  const known = (value) => value !== undefined && value !== null;
  const fixed = (value, digits) => (known(value) ? value.toFixed(digits) : "-");
  const brief = (value) => (known(value) ? String(Number(value.toPrecision(5))) : "-");
  const coordinates = (values, digits = 1) => values.map((value) => value.toFixed(digits)).join(", ");

  // ---- columns: heading, sort key, cell

  const figure = (name) => (scan) => scan.figures[name];
  const columns = [
    { name: "Risk", first: -1, sort: (scan) => scan.risk, cell: riskCell, style: "short", told: "How urgently to look" },
    { name: "Scan", sort: (scan) => scan.title, cell: scanCell, style: "scan" },
    { name: "Status", sort: (scan) => scan.status, cell: (scan) => scan.status, style: "short status" },
    { name: "Findings", first: -1, sort: (scan) => scan.flags.length, cell: findingsCell, style: "findings", told: "What hilum met in the scan; open it for the sentences" },
    { name: "Score", sort: figure("lung_score"), cell: (scan) => fixed(scan.figures.lung_score, 2), style: "number score",
      told: "How plausible the lung mask is: 1 all plausible, below 0.5 probably wrong" },
    { name: "Right ml", sort: figure("lung_right_ml"), cell: (scan) => fixed(scan.figures.lung_right_ml, 0), style: "number",
      told: "Volume of the right lung in the mask" },
    { name: "Left ml", sort: figure("lung_left_ml"), cell: (scan) => fixed(scan.figures.lung_left_ml, 0), style: "number",
      told: "Volume of the left lung in the mask" },
    { name: "Nodules", first: -1, sort: (scan) => (scan.geometry ? scan.nodules.length : undefined),
      cell: (scan) => (scan.geometry ? String(scan.nodules.length) : "-"), style: "number" },
  ];
  const mapsOf = (scan) => Object.keys(scan.label_maps);
  const labeled = scans.filter((scan) => mapsOf(scan).length);
  if (labeled.length) {
    columns.push({ name: "Labels", first: -1, sort: (scan) => (scan.geometry ? mapsOf(scan).length : undefined), cell: labelsCell, style: "labels" });
  }

  function labelsCell(scan) {
    const names = mapsOf(scan);
    return names.slice(0, 4).join(", ") + (names.length > 4 ? ` and ${names.length - 4} more` : "") || "-";
  }

  function riskCell(scan) {
    return make("span", { class: `chip risk${scan.risk}` }, levels[scan.risk]);
  }

  function scanCell(scan, number) {
    const labels = [scan.title === scan.id ? "" : scan.id, scan.dataset, ...Object.entries(scan.labels).map(([name, value]) => `${name} ${value}`)];
    return [
      make("button", { type: "button", class: "open", "aria-expanded": "false", "aria-controls": `detail-${number}`, dir: "auto" }, scan.title),
      make("small", { dir: "auto" }, labels.filter(Boolean).join(", ")),
    ];
  }

  function findingsCell(scan, number) {
    const chips = scan.flags.map((flag) => make("span", { class: `chip risk${flag.level}`, title: flag.text, dir: "auto" }, flag.name));
    const message = scan.no_picture || (scan.geometry ? "" : scan.flags.map((flag) => flag.text)[0]);
    const text = message ? [make("span", { class: "message", dir: "auto" }, message)] : [];
    if (!scan.preview) return [...chips, ...text];
    const picture = make("img", { width: scan.preview.width, height: scan.preview.height, alt: describe(scan) });
    picture.dataset.number = number;
    return [...chips, ...text, make("div", { class: "strip" }, picture)];
  }

  function describe(scan) {
    const of = (plane) => scan.preview.panels.filter((panel) => panel.plane === plane);
    const slices = (plane) => of(plane).map((panel) => panel.place + 1).join(", ");
    const nodules = of("nodule").map((panel) => panel.nodule);
    const close = nodules.length > 1 ? `nodules ${nodules.join(", ")} (down, then right)` : `nodule ${nodules[0]}`;
    const doubts = of("doubt").map((panel) => `; axial slice ${panel.place + 1}, where ${panel.code} counts most (red ring)`);
    return `Coronal slice ${slices("coronal")} from the front${doubts.join("")}; axial slices ${slices("axial")} from the feet`
      + (nodules.length ? `; close up, 50 mm wide: ${close}.` : ".");
  }

  // ---- rows: created once, then shown, hidden and sorted

  const rows = scans.map((scan, number) => {
    const row = make("tr", { "data-number": number });
    for (const column of columns) {
      const cell = make("td", column.style ? { class: column.style } : {});
      cell.append(...[column.cell(scan, number)].flat());
      row.append(cell);
    }
    const words = [scan.id, scan.title, scan.status, levels[scan.risk], scan.dataset, scan.series_uid,
      ...scan.flags.flatMap((flag) => [flag.name, flag.text]),
      ...Object.entries(scan.label_maps).flatMap(([name, one]) => [name, ...Object.keys(one.values)]),
      ...Object.entries(scan.labels).map(([name, value]) => `${name} ${value}`)];
    return { scan, number, row, detail: null, text: words.join("\n").toLowerCase() };
  });

  function load(picture) {
    if (!picture.src) picture.src = "data:image/png;base64," + byId(`picture-${picture.dataset.number}`).textContent;
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        load(entry.target);
        watcher.unobserve(entry.target);
      }
    }
  }, { rootMargin: "800px" });
  for (const { row } of rows) for (const picture of row.querySelectorAll("img")) watcher.observe(picture);
  let folded = [];
  addEventListener("beforeprint", () => {
    finish();
    body.querySelectorAll("img[data-number]").forEach(load);
    folded = [...document.querySelectorAll("details:not([open])")]; // paper cannot be unfolded
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });

  // ---- sorting

  let sorted = { column: 0, way: -1 };

  function compare(a, b) {
    const sort = columns[sorted.column].sort;
    const [x, y] = [sort(a.scan), sort(b.scan)];
    if (known(x) !== known(y)) return known(x) ? -1 : 1; // unknown values come last in both directions
    const order = !known(x) || x === y ? 0 : typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return order ? order * sorted.way : a.number - b.number;
  }

  const heads = columns.map((column, index) => {
    const head = make("th", column.style ? { scope: "col", class: column.style } : { scope: "col" });
    if (!column.sort) {
      head.append(column.name);
      return head;
    }
    const button = make("button", { type: "button", title: column.told || "" }, column.name, make("span", { "aria-hidden": "true" }));
    button.addEventListener("click", () => {
      const way = sorted.column === index ? -sorted.way : column.first || 1;
      sorted = { column: index, way };
      show();
    });
    head.append(button);
    return head;
  });
  list.tHead.append(make("tr", {}, ...heads));

  // ---- filtering

  const find = byId("find");
  const status = byId("status");
  const risk = byId("risk");
  for (const value of [...new Set(scans.map((scan) => scan.status))].sort()) status.append(make("option", { value }, value));
  levels.map((name, level) => [name, level]).reverse().forEach(([name, level]) => {
    const count = scans.filter((scan) => scan.risk === level).length;
    if (count) risk.append(make("option", { value: level }, `${name} (${count})`));
  });

  const labels = byId("labels");
  byId("labels-choice").hidden = byId("labels-key").hidden = !labeled.length;
  for (const [value, text, count] of [["with", "with labels", labeled.length], ["without", "without", scans.length - labeled.length]]) {
    labels.append(make("option", { value }, `${text} (${count})`));
  }
  for (const name of [...new Set(labeled.flatMap(mapsOf))].sort().slice(0, 100)) {
    labels.append(make("option", { value: `map ${name}` }, `${name} (${labeled.filter((scan) => mapsOf(scan).includes(name)).length})`));
  }

  function hasWantedLabels(scan) {
    const names = mapsOf(scan);
    if (labels.value === "with" || labels.value === "without") return Boolean(names.length) === (labels.value === "with");
    return !labels.value || names.some((name) => labels.value === `map ${name}`);
  }

  function wanted({ scan, text }) {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    return (!status.value || scan.status === status.value)
      && (risk.value === "" || scan.risk === Number(risk.value))
      && hasWantedLabels(scan)
      && words.every((word) => text.includes(word));
  }

  // A screen of rows at once, the others in the next moments: laying out a thousand takes the better part of a second.
  let turn = 0;
  let finish = () => {};

  function show() {
    const shown = rows.filter(wanted).sort(compare);
    const waiting = shown.flatMap(({ row, detail }) => (detail ? [row, detail] : [row]));
    const mine = (turn += 1);
    const draw = (count) => {
      if (mine !== turn) return; // sorted or filtered anew in between
      body.append(...waiting.splice(0, count));
      if (waiting.length) requestAnimationFrame(() => setTimeout(draw, 0, 200));
    };
    finish = () => draw(waiting.length);
    body.replaceChildren();
    draw(40);
    byId("count").textContent = `${shown.length} of ${rows.length} scans`;
    heads.forEach((head, index) => {
      const mine = index === sorted.column;
      if (mine) head.setAttribute("aria-sort", sorted.way > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
      const arrow = head.querySelector("span");
      if (arrow) arrow.textContent = mine ? (sorted.way > 0 ? " \u25b2" : " \u25bc") : "";
    });
  }

  let waiting = 0;
  find.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 120);
  });
  status.addEventListener("change", show);
  risk.addEventListener("change", show);
  labels.addEventListener("change", show);
  byId("pictures").addEventListener("change", (event) => list.classList.toggle("compact", !event.target.checked));
  const form = find.form;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    list.classList.remove("compact");
    show();
  }));

  // ---- one scan, opened

  function facts(pairs) {
    return make("table", {}, make("tbody", {}, ...pairs.map(([name, value]) =>
      make("tr", {}, make("th", { scope: "row" }, name), make("td", { dir: "auto" }, value)))));
  }

  function grid(head, lines) {
    return make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...lines.map((line) => make("tr", {}, ...line.map((value, k) =>
        make("td", { class: k < line.length - 1 ? "number" : "words", dir: "auto" }, value)))))));
  }

  function block(title, ...children) {
    return make("section", {}, make("h3", {}, title), ...children);
  }

  function histogram(preview) {
    const [width, height, left, bottom, top] = [360, 170, 46, 20, 8];
    const total = preview.counts.reduce((sum, count) => sum + count, preview.below + preview.above) || 1;
    const least = -5; // the smallest share shown, as a power of ten
    const end = preview.hu_from + preview.hu_step * preview.counts.length;
    const x = (hu) => left + ((hu - preview.hu_from) / (end - preview.hu_from)) * (width - left - 8);
    const y = (share) => top + (Math.max(least, share > 0 ? Math.log10(share) : least) / least) * (height - top - bottom);
    const drawn = make("svg:svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Histogram of HU; median ${preview.percentiles["50"]} HU` });
    for (let power = 0; power > least; power -= 1) {
      drawn.append(make("svg:path", { class: "mesh", d: `M${left} ${y(10 ** power)}H${width - 8}` }),
        make("svg:text", { x: left - 4, y: y(10 ** power) + 4, "text-anchor": "end" }, `${10 ** (power + 2)} %`));
    }
    const line = preview.counts.map((count, k) => {
      const from = preview.hu_from + k * preview.hu_step;
      return `L${x(from).toFixed(1)} ${y(count / total).toFixed(1)}H${x(from + preview.hu_step).toFixed(1)}`;
    });
    drawn.append(make("svg:path", { class: "bar", d: `M${left} ${height - bottom}${line.join("")}V${height - bottom}Z` }));
    for (let hu = -1000; hu < end; hu += 500) {
      drawn.append(make("svg:text", { x: x(hu), y: height - 6, "text-anchor": hu + 100 > end ? "end" : "middle" }, `${hu}`));
    }
    drawn.append(make("svg:path", { class: "axis", d: `M${left} ${top}V${height - bottom}H${width - 8}` }));
    return drawn;
  }

  function nodules(scan) {
    const head = ["nodule", "world x, y, z (mm)", "voxel z, y, x", "diameter (mm)", "in the volume", "off by (mm)",
      "voxels", "mean HU", "in the lungs", "readers", "their agreement", "scores"];
    return grid(head, scan.nodules.map((nodule) => [
      String(nodule.label), coordinates(nodule.world, 2), coordinates(nodule.voxel), brief(nodule.diameter_mm),
      nodule.inside ? "yes" : "no", nodule.round_trip_mm.toPrecision(2), String(nodule.voxels),
      fixed(nodule.mean_hu, 0), known(nodule.inside_lungs) ? `${(100 * nodule.inside_lungs).toFixed(0)} %` : "-",
      nodule.readers ? String(nodule.readers) : "-", fixed(nodule.agreement, 2),
      Object.entries(nodule.scores).map(([name, value]) => `${name} ${brief(value)}`).join(", ") || "-"]));
  }

  function labelMaps(scan) {
    const lines = Object.entries(scan.label_maps).flatMap(([name, one]) => {
      const values = Object.entries(one.values);
      return values.length ? values.map(([label, value]) => {
        const key = make("span", { class: "key", dir: "auto" });
        key.style.setProperty("--key", scan.label_colors[name][label]);
        key.append(name === label ? name : `${label} of ${name}`);
        return [String(value), brief(one.volumes_ml[label]), key];
      }) : [["-", "-", `${name}: no label`]];
    });
    return grid(["value", "ml", "label"], lines);
  }

  function detailOf(scan, number) {
    const parts = make("div", { class: "blocks" });
    if (scan.preview) {
      const big = make("img", { width: 2 * scan.preview.width, height: 2 * scan.preview.height, alt: describe(scan) });
      big.dataset.number = number;
      load(big);
      parts.append(make("section", { class: "all" }, make("div", { class: "wide" }, big),
        make("p", { class: "hint" }, describe(scan))));
    } else if (scan.no_picture) {
      parts.append(make("section", { class: "all" }, make("p", { class: "hint" }, scan.no_picture)));
    }
    parts.append(block("Findings", scan.flags.length
      ? make("ul", {}, ...scan.flags.map((flag) => make("li", { dir: "auto" },
        make("span", { class: `chip risk${flag.level}` }, flag.name), ` ${flag.text}`)))
      : make("p", {}, "Nothing was met.")));
    if (scan.geometry) {
      const share = (name) => (known(scan.figures[name]) ? `${(100 * scan.figures[name]).toFixed(1)} %` : "-");
      parts.append(block("Lungs", facts([
        ["right", `${fixed(scan.figures.lung_right_ml, 0)} ml`], ["left", `${fixed(scan.figures.lung_left_ml, 0)} ml`],
        ["both", `${fixed(scan.figures.lung_ml, 0)} ml`], ["mean", `${fixed(scan.figures.lung_mean_hu, 0)} HU`],
        ["below -950 HU", share("lung_below_950_share")], ["above -500 HU", share("lung_above_500_share")],
        ["score of the mask", `${fixed(scan.figures.lung_score, 2)} of 1`]])));
    }
    if (scan.preview) {
      const percentiles = Object.entries(scan.preview.percentiles).map(([name, value]) => `${name}\u00a0%:\u00a0${value}`).join(", ");
      const cut = scan.preview.cut ? ` The recipe cut values off at ${scan.preview.cut.join(" and ")} HU.` : "";
      parts.append(block("Hounsfield units", histogram(scan.preview),
        make("p", { class: "hint" }, `Fraction of the voxels in each ${scan.preview.hu_step} HU, on a logarithmic axis. Percentiles in HU: ${percentiles}.${cut}`)));
    }
    if (scan.nodules.length) {
      const proof = block("Nodules", nodules(scan));
      proof.className = "all";
      parts.append(proof);
    }
    if (mapsOf(scan).length) parts.append(block("Label maps", labelMaps(scan)));
    if (scan.geometry) {
      const size = (one) => `${one.shape.join(" x ")} voxels of ${one.spacing.map(brief).join(" x ")} mm (z, y, x)`;
      parts.append(block("Grid", facts([
        ["read", size(scan.source_geometry)], ["written", size(scan.geometry)], ["voxels hold", scan.unit],
        ["origin x, y, z", `${coordinates(scan.geometry.origin, 2)} mm`]])));
    }
    parts.append(block("Where it comes from", facts([
      ["series", scan.series_uid || "-"], ["data set", scan.dataset || "-"],
      ...Object.entries(scan.labels).map(([name, value]) => [name, String(value)]),
      ["seconds", brief(scan.seconds)], ["hilum", scan.version || "-"], ["recipe", scan.recipe || "-"],
      ["fingerprint", scan.fingerprint.slice(0, 16) || "-"],
      ["files", Object.entries(scan.files).map(([name, bytes]) => `${name} ${bytes < 1e5 ? (bytes / 1e3).toFixed(1) + " kB" : (bytes / 1e6).toFixed(1) + " MB"}`).join(", ") || "-"]])));
    const figures = Object.entries(scan.figures);
    if (figures.length) {
      parts.append(block("All figures", make("details", {}, make("summary", {}, `${figures.length} figures`),
        facts(figures.map(([name, value]) => [name, brief(value)])))));
    }
    return make("tr", { class: "detail", id: `detail-${number}` }, make("td", { colspan: columns.length }, parts));
  }

  function toggle(entry, open) {
    const button = entry.row.querySelector(".open");
    if (open === Boolean(entry.detail)) return;
    button.setAttribute("aria-expanded", String(open));
    if (open) {
      entry.detail = detailOf(entry.scan, entry.number);
      entry.row.after(entry.detail);
      entry.row.scrollIntoView({ block: "start" });
    } else {
      entry.detail.remove();
      entry.detail = null;
    }
  }

  const entryOf = (node) => {
    const row = node.closest("tr[data-number]");
    return row && rows[Number(row.dataset.number)];
  };

  body.addEventListener("click", (event) => {
    const entry = event.target.closest(".open, .strip img") && entryOf(event.target);
    if (entry) toggle(entry, !entry.detail);
  });

  function go(step) {
    const buttons = [...body.querySelectorAll(".open")];
    const now = buttons.indexOf(document.activeElement);
    const next = buttons[now < 0 ? 0 : now + step];
    if (!next) return;
    next.focus({ preventScroll: true });
    next.closest("tr").scrollIntoView({ block: "center" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea, pre")) return;
    const onScan = event.target.classList.contains("open");
    const step = { j: 1, k: -1, ...(onScan ? { ArrowDown: 1, ArrowUp: -1 } : {}) }[event.key];
    if (onScan && event.key === "Escape") toggle(entryOf(event.target), false);
    if (!step) return;
    event.preventDefault();
    go(step);
  });

  byId("check").addEventListener("click", (event) => {
    const link = event.target.closest("a[data-number]");
    if (!link) return;
    event.preventDefault();
    const entry = rows[Number(link.dataset.number)];
    if (!wanted(entry)) {
      clearTimeout(waiting); // a word that was typed just now would draw the table again
      for (const one of [find, status, risk, labels]) one.value = "";
      show();
    }
    finish();
    toggle(entry, true);
    entry.row.scrollIntoView({ block: "start" });
    entry.row.querySelector(".open").focus({ preventScroll: true });
  });

  show();
})();
