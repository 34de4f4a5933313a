"""Cost of pictures in a run, size of the page of 1,000 scans, and time to open it in a browser.

    python bench/report.py [--folder DICOM_FOLDER ...] [--scans 1000] [--rounds 5] [--data DATA]

1. The fraction of a run that pictures and histogram take, for each scan, in this process.
2. The page of a run of many scans, which are copies of those of part 1 with other names and measurements. Headless
   Chromium opens it; the time is from the start of the navigation until all rows are drawn.
3. With --data: a run over every scan in that folder and 20 phantoms, its page, and errors in the browser.

Exits 1 if pictures take 5 % or more, 1,000 scans need 60 MB, or their page takes 3 s.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from browser import browser, find

from hilum import batch
from hilum.batch import task
from hilum.outputs import store
from hilum.outputs.ledger import Ledger, Row, read_ledger
from hilum.phantom import PhantomOptions, make_phantom
from hilum.phantom.files import write_dicom_series, write_luna16
from hilum.recipes import RECIPES, with_options
from hilum.report.page import write_report

FRACTION, MEGABYTES, SECONDS = 0.05, 60.0, 3.0
"""Upper bounds."""

KINDS = {
    "default, nifti": RECIPES["default"],
    "default, npy": with_options(RECIPES["default"], file_format="npy"),
    "tutorial2017": RECIPES["tutorial2017"],
}

OPENED = """new Promise(done => {
  const wanted = JSON.parse(document.getElementById("scans").textContent).length;
  (function look() {
    const rows = document.querySelectorAll("tbody .open").length;
    if (rows < wanted) return requestAnimationFrame(look);
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    document.body.offsetHeight;
    done({rows, drawn: performance.now(), painted: paint ? paint.startTime : -1});
  })();
})"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, nargs="*", default=[], help="DICOM folders of real scans")
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, help="a folder of real scans of any kind, for part 3")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        holds = picture_fractions(arguments, Path(scratch)) & many_scans(arguments, Path(scratch))
        if arguments.data:
            holds &= everything(arguments.data, Path(scratch))
    return 0 if holds else 1


def picture_fractions(arguments: argparse.Namespace, scratch: Path) -> bool:
    """Run scans one after the other, and measure the fraction of their time that pictures take."""
    folders = {"phantom of 240": write_dicom_series(make_phantom(seed=1, shape=(240, 512, 512)), scratch / "phantom")}
    folders |= {str(Path(*folder.parts[-2:])): folder for folder in arguments.folder}
    seconds_spent = [0.0]
    task.preview_of, store.write_preview = (timed(one, seconds_spent) for one in (task.preview_of, store.write_preview))
    print(f"{'scan':28s}{'recipe':18s}{'run s':>8s}{'pictures s':>12s}{'share':>8s}")
    worst = 0.0
    for name, folder in folders.items():
        refs, _ = batch.index([folder])
        for kind, recipe in KINDS.items():
            seconds, pictures = [], []
            for turn in range(arguments.rounds + 1):
                seconds_spent[0] = 0.0
                row = batch.run_one(refs[0], recipe, scratch / "runs" / kind / str(turn))
                if row.reason:
                    print(f"{name}: {row.reason}")
                    return False
                if turn:  # the first one compiles and warms the disk cache
                    seconds.append(row.seconds)
                    pictures.append(seconds_spent[0])
            fraction = median(p / s for p, s in zip(pictures, seconds, strict=True))
            worst = max(worst, fraction)
            print(f"{name:28s}{kind:18s}{median(seconds):8.2f}{median(pictures):12.3f}{fraction:8.1%}")
    print(f"pictures cost at most {worst:.1%} of a run (bound {FRACTION:.0%})\n")
    return worst < FRACTION


def timed(function, seconds_spent):  # noqa: ANN001, ANN201 - wraps whatever it is given
    """Wrap a function to add up its time."""

    def call(*words, **options):  # noqa: ANN002, ANN003, ANN202
        started = time.perf_counter()
        made = function(*words, **options)
        seconds_spent[0] += time.perf_counter() - started
        return made

    return call


def many_scans(arguments: argparse.Namespace, scratch: Path) -> bool:
    """Copy records and pictures into a run of many scans, write its page, and open it."""
    rng = random.Random(7)  # noqa: S311 - figures that differ, no secrets
    sources = sorted(scratch.glob("runs/default, nifti/0/scans/*"))
    # Scans with nodules have the largest pictures.
    write_luna16([make_phantom(seed=9, shape=(140, 256, 256), spacing=(2.5, 1.4, 1.4))], scratch / "luna", subsets=1)
    refs, _ = batch.index([scratch / "luna"])
    batch.run(refs, RECIPES["luna16"], scratch / "luna-run")
    sources += sorted((scratch / "luna-run" / "scans").iterdir())
    out = scratch / "thousand"
    for number in range(arguments.scans):
        source = sources[number % len(sources)]
        told = json.loads((source / "scan.json").read_text())
        folder = out / "scans" / f"ct-{number:05d}"
        folder.mkdir(parents=True)
        told["scan_id"] = folder.name
        told["figures"] = {k: v * rng.uniform(0.8, 1.2) for k, v in told["figures"].items()}
        told["notes"] += (
            [{"code": "cropped", "text": "the lungs touch the edge of the scan"}] if number % 5 == 0 else []
        )
        (folder / "scan.json").write_text(json.dumps(told))
        for name in ("preview.png", "preview.json"):
            shutil.copyfile(source / name, folder / name)
    rows = [
        Row(id=f"ct-{k:05d}", status="repaired" if k % 5 == 0 else "done", seconds=3.0) for k in range(arguments.scans)
    ]
    with Ledger(out) as ledger:
        for row in rows:
            ledger.append(row)
    started = time.perf_counter()
    made = write_report(out)
    print(f"{made.scans} scans, {made.pictures} with pictures: {made.size / 1e6:.1f} MB (bound {MEGABYTES:g} MB), "
          f"written in {time.perf_counter() - started:.1f} s")  # fmt: skip
    if find() is None:
        print("Chromium is not installed, so the page was not opened (Debian: apt-get install chromium)")
        return False
    drawn, painted = [], []
    for _ in range(arguments.rounds):
        with browser() as page:
            page.open(made.path)
            told = page.run(OPENED)
            if (told["rows"], page.complaints()) != (arguments.scans, []):
                print(f"the page is not complete: {told} {page.complaints()}")
                return False
            drawn.append(told["drawn"] / 1000)
            painted.append(told["painted"] / 1000)
    print(f"opened in a new Chromium: all rows after {median(drawn):.2f} s ({min(drawn):.2f}-{max(drawn):.2f}), "
          f"first paint after {median(painted):.2f} s, median of {len(drawn)} (bound {SECONDS:g} s)\n")  # fmt: skip
    return made.size < MEGABYTES * 1e6 and median(drawn) < SECONDS


def everything(data: Path, scratch: Path) -> bool:
    """Run all scans of a folder and 20 phantoms, and check the page."""
    kinds = [PhantomOptions(), PhantomOptions(effusion=True), PhantomOptions(emphysema=True), PhantomOptions(haze=True),
             PhantomOptions(mass=True), PhantomOptions(missing="left"), PhantomOptions(prone=True),
             PhantomOptions(consolidation=True), PhantomOptions(nodules=()), PhantomOptions(noise_hu=60.0)]  # fmt: skip
    phantoms = [
        make_phantom(seed=100 + k, shape=(120, 200, 200), spacing=(3.0, 1.8, 1.8), options=kinds[k % len(kinds)])
        for k in range(20)
    ]
    write_luna16(phantoms, scratch / "luna20", subsets=4)
    out = scratch / "everything"
    found = batch.survey([data, scratch / "luna20"])
    rows = batch.run(found.refs, RECIPES["default"], out, refused=found.refused, found=found, workers=0)
    made = write_report(out)
    counts = {s: sum(row.status == s for row in rows) for s in ("done", "repaired", "refused", "failed")}
    print(f"{len(rows)} scans in, {counts}; {made.pictures} with pictures, {made.size / 1e6:.1f} MB")
    with browser() as page:
        page.open(made.path)
        page.run("dispatchEvent(new Event('beforeprint'))")
        images = "[...document.querySelectorAll('tbody img')]"
        widths = page.run(f"Promise.all({images}.map(one => one.decode().then(() => one.naturalWidth)))")
        told = page.run(OPENED)
        requests = [url for url in page.requests() if not url.startswith("data:")]
        print(f"in the browser: {told['rows']} rows, {sum(w > 0 for w in widths)} pictures shown, "
              f"{len(requests)} request (the page itself), {len(page.complaints())} complaints")  # fmt: skip
        complete = told["rows"] == len(read_ledger(out)) and len(widths) == made.pictures and all(widths)
        return complete and len(requests) == 1 and not page.complaints()


if __name__ == "__main__":
    sys.exit(main())
