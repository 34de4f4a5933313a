"""How fast `hilum view` opens a scan and scrolls through it, and the memory that it needs.

    python bench/viewer_page.py [SCAN ...] [--before WORKTREE] [--rounds 5] [--slices 2000]

Without a SCAN, a phantom of 512 x 512 x SLICES int16 is made, with its nodules. Each round has a new server and a new
Chromium of 1440 x 900. Prints medians:

* seconds: ``server``, from the command to the address that it prints; ``first picture``, from opening the address to
  the first slice; ``volume``, ``masks`` and ``3-D``, until all slices, the masks and the 3-D view are there; ``bones``
  and ``vessels``, from choosing that view to seeing it;
* ``axial``, ``coronal``, ``sagittal``: planes per second that a wheel scrolls through, and the milliseconds of
  processor time of the whole browser for each. A frame draws one plane, so 60 is the most. A plane counts if the pixels
  in the middle of its pane differ from those of the plane before. ``bare`` is without masks;
* MB: ``browser``, proportional set size of its processes when all is loaded; ``page``, the most that one of them ever
  had; ``server``, the most that the server ever had.

With --before, rounds take turns with the hilum of another worktree, whose page is built, and ratios are printed: now
by before.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]
PLANES = ("axial", "coronal", "sagittal")
STEPS = 100
MARKS = "Object.fromEntries(performance.getEntriesByType('mark').map(one => [one.name, one.startTime / 1000]))"
NAMES = {
    "first picture": "hilum:first-picture",
    "volume": "hilum:ct-here",
    "masks": "hilum:masks",
    "3-D": "hilum:render",
}

SCROLL = """(async (id, steps) => {
  const canvas = document.querySelector(`#${id} canvas`), paint = canvas.getContext('2d');
  const row = () => {
    const { data } = paint.getImageData(0, Math.round(canvas.height * 0.45), canvas.width, 1);
    return new Uint32Array(data.buffer);
  };
  const frame = () => new Promise(requestAnimationFrame);
  const turn = async deltaY => {
    const index = canvas.dataset.index;
    canvas.dispatchEvent(new WheelEvent('wheel', { deltaY, bubbles: true, cancelable: true }));
    do await frame(); while (canvas.dataset.index === index);
  };
  await turn(100);
  let seen = row(), drawn = 0;
  const start = performance.now();
  for (let step = 0; step < steps; step++) {
    await turn(step < steps / 2 ? -100 : 100);
    const now = row();
    if (now.some((pixel, i) => pixel !== seen[i])) drawn++;
    seen = now;
  }
  return drawn / (performance.now() - start) * 1000;
})"""


CHOOSE = """(async kind => {
  const choice = document.getElementById('scene'), { dataset } = document.getElementById('render');
  const start = performance.now();
  choice.value = kind;
  choice.dispatchEvent(new Event('change'));
  do await new Promise(requestAnimationFrame); while (!['drawn', 'failed'].includes(dataset.state));
  return dataset.state === 'drawn' ? (performance.now() - start) / 1000 : NaN;
})"""


def measure(path: Path, source: Path, options: list[str]) -> dict[str, float]:
    """Open a scan once with the hilum in `source`, and scroll through it."""
    from browser import browser

    with browser(width=1440, height=900) as page:
        start = time.perf_counter()
        command = [sys.executable, "-m", "hilum.cli", "view", str(path), "--no-browser", *options]
        environment = {**os.environ, "PYTHONPATH": str(source / "src")}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            address = re.fullmatch(r"(http://\S+)\n", process.stdout.readline() if process.stdout else "")
            if address is None:
                sys.exit(f"hilum view printed no address for {path}")
            found = {"server": time.perf_counter() - start}
            page.open(address[1])
            marks = wait_for(page, "hilum:render")
            found |= {name: marks[mark] for name, mark in NAMES.items()}
            found |= {kind: page.run(f"{CHOOSE}({kind!r})") for kind in ("bones", "vessels")}
            for masks in ("", " bare"):
                for plane in PLANES:
                    busy = processor_seconds()
                    rate = page.run(f"{SCROLL}({plane!r}, {STEPS})")
                    found |= {f"{plane}{masks}": rate, f"{plane}{masks} ms": (processor_seconds() - busy) / STEPS * 1e3}
                page.run("document.getElementById('mask').click()")
            ours = descendants(os.getpid()) - descendants(process.pid)
            found["browser MB"] = sum(memory(one, "smaps_rollup", "Pss") for one in ours - {os.getpid(), process.pid})
            found["page MB"] = max(memory(one, "status", "VmHWM") for one in ours - {os.getpid(), process.pid})
            found["server MB"] = memory(process.pid, "status", "VmHWM")
            process.terminate()
    return found


def wait_for(page: Any, name: str) -> dict[str, float]:
    """Wait for a mark of the page, and give all its marks."""
    until = time.perf_counter() + 400
    while name not in (marks := page.run(MARKS)):
        if time.perf_counter() > until:
            sys.exit(f"{name} never came: {page.run('document.body.innerText')}")
        time.sleep(0.05)
    return dict(marks)


def descendants(root: int) -> set[int]:
    """A process and all that it started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found, new = set[int](), {root}
    while new:
        found |= new
        new = {one for one, parent in parents.items() if parent in new}
    return found


def processor_seconds() -> float:
    """Processor time of this process and all that it started."""
    ticks = 0
    for one in descendants(os.getpid()):
        with suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(process: int, file: str, name: str) -> float:
    """A line of a process's memory figures, in MB; 0 if it has ended."""
    with suppress(OSError):
        if line := re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{process}/{file}").read_text(), re.MULTILINE):
            return int(line[1]) * 1024 / 1e6
    return 0.0


def make_scan(folder: Path, slices: int) -> tuple[Path, list[str]]:
    """Write a phantom of many slices as one volume file, with the table of its nodules."""
    import hilum
    from hilum.io.volumes.nifti import write_nifti
    from hilum.phantom.chest import make_phantom

    phantom = make_phantom(shape=(250, 512, 512), spacing=(1.2, 0.7, 0.7))
    spacing = 250 * 1.2 / slices
    ct = hilum.resample(phantom.scan.ct, (spacing, 0.7, 0.7), order="linear")
    write_nifti(ct, folder / "phantom.nii")
    with (folder / "annotations.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"))
        rows.writerows(("phantom", *one.nodule.center, one.nodule.diameter_mm) for one in phantom.nodules)
    print(f"phantom.nii: {' x '.join(map(str, ct.shape))} {ct.array.dtype}, {ct.array.nbytes / 1e6:.0f} MB")
    return folder / "phantom.nii", ["--annotations", str(folder / "annotations.csv")]


def show(path: Path, rounds: dict[str, list[dict[str, float]]]) -> None:
    """Print medians, and ratios where there is a before."""
    medians = {
        who: {name: statistics.median(one[name] for one in every) for name in every[0]} for who, every in rounds.items()
    }
    print(
        f"{path.resolve().name}, medians of {len(rounds['now'])}",
        *medians,
        "now / before" if len(medians) > 1 else "",
        sep="\t",
    )
    for name, now in medians["now"].items():
        values = [every[name] for every in medians.values()]
        ratio = [f"{now / values[-1]:.2f}"] if len(values) > 1 else []
        print(name, *(f"{value:.2f}" for value in values), *ratio, sep="\t")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="*", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slices", type=int, default=2000)
    asked = parser.parse_args()
    sources = {"now": ROOT} | ({"before": asked.before} if asked.before else {})
    with tempfile.TemporaryDirectory() as folder:
        scans = [(path, list[str]()) for path in asked.scans] or [make_scan(Path(folder), asked.slices)]
        for path, options in scans:
            rounds: dict[str, list[dict[str, float]]] = {who: [] for who in sources}
            for _ in range(asked.rounds):
                for who, source in sources.items():
                    rounds[who].append(measure(path, source, options))
            show(path, rounds)


if __name__ == "__main__":
    main()
