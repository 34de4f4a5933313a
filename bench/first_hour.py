"""Someone's first hour with hilum, on a scratch copy of real scans: each command, and every line that a person sees.

    python bench/first_hour.py SHARED [--scratch DIR]

SHARED holds lidc-idri-0314, lung-pet-ct-dx-A0002, tilt-ge-head, cip-ct64 and luna16, as the tests know them. Ends with
status 1 where a command ends otherwise than the story says, or a scan's fate stands nowhere.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HILUM = [sys.executable, "-m", "hilum.cli"]
UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.154677396354641150280013275227"
"""The LUNA16 name of LIDC-IDRI-0314."""


class Teller:
    """Gives commands in a scratch folder, prints them with what they say, and remembers what went otherwise."""

    def __init__(self, home: Path) -> None:
        self.home, self.wrong = home, 0

    def says(self, text: str) -> None:
        """Print what the person thinks."""
        print(f"\n# {text}")

    def runs(self, line: str, *, status: int = 0) -> None:
        """Give a command, and print every line of it."""
        print(f"$ hilum {line}", flush=True)
        done = subprocess.run([*HILUM, *line.split()], cwd=self.home, capture_output=True, text=True, check=False)
        for told in (done.stderr, done.stdout):
            print("".join(f"  {row}\n" for row in told.replace(f"{self.home}/", "").splitlines()), end="")
        print(f"  (exit status {done.returncode})")
        if done.returncode != status or "Traceback" in done.stderr or "should not" in done.stderr:
            self.wrong += 1
            print(f"  !!! the story says {status}")

    def index(self, out: str) -> None:
        """Print the run's index as a person would look at it: which scan is whose, and what became of it."""
        with (self.home / out / "scans.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        print(f"$ cut -d, -f1,5-8 {out}/scans.csv")
        for row in rows:
            print("  " + "  ".join(row[name] or "-" for name in ("id", "input", "path", "status", "codes")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--scratch", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.scratch) as scratch:
        teller = Teller(Path(scratch).resolve())
        shared = asked.shared.resolve()
        mixed_folder(teller, shared)
        annotations(teller, shared)
        output_inside(teller)
        damaged_later(teller)
        wrong_tables(teller, shared)
        luna16(teller, shared)
    print(f"\n{teller.wrong} commands ended otherwise than the story says")
    return int(teller.wrong > 0)


def mixed_folder(teller: Teller, shared: Path) -> None:
    """A download as it comes: several patients, a link, a failed download, a head, a label map."""
    data = teller.home / "data"
    shutil.copytree(shared / "lidc-idri-0314" / "image", data / "P1")
    shutil.copytree(shared / "lung-pet-ct-dx-A0002", data / "P2")
    shutil.copytree(shared / "tilt-ge-head", data / "P3-head")
    shutil.copytree(shared / "lidc-idri-partial", teller.home / "elsewhere")
    (data / "P4-linked").symlink_to(teller.home / "elsewhere")
    (data / "P5-failed").mkdir()
    for k in range(3):
        (data / "P5-failed" / f"1-{k:03d}.dcm").write_bytes(b"")
    (data / "P6-annexed").mkdir()
    for k in range(3):
        (data / "P6-annexed" / f"1-{k:03d}.dcm").symlink_to(f"../.git/annex/objects/{k}")
    shutil.copytree(shared / "cip-ct64", data / "P7-volumes", ignore=shutil.ignore_patterns("ct-64Dicom"))
    teller.says("What did I download? data/ holds P1 to P7.")
    teller.runs("info data")
    teller.says("Preprocess all of it.")
    teller.runs("run data --out OUT", status=1)
    teller.index("OUT")
    teller.says("Again: nothing is made twice.")
    teller.runs("run data --out OUT", status=1)
    teller.runs("report OUT")
    teller.runs("verify OUT")


def annotations(teller: Teller, shared: Path) -> None:
    """The same scan with and without its annotations."""
    shutil.copy(shared / "luna16" / "annotations.csv", teller.home)
    teller.says("P1 is a LUNA16 scan: with its nodules.")
    teller.runs("run data/P1 --out NODULES --annotations annotations.csv")
    teller.says("I forget the annotations.")
    teller.runs("run data/P1 --out NODULES", status=1)
    teller.says("I mistype them, though all is done.")
    teller.runs("run data/P1 --out NODULES --annotations nope.csv", status=1)
    teller.runs("run data/P1 --out NODULES --annotations annotations.csv")


def output_inside(teller: Teller) -> None:
    """The output among the inputs, twice; and over something else."""
    (teller.home / "small").mkdir()
    shutil.copytree(teller.home / "data" / "P2", teller.home / "small" / "P2")
    teller.says("The output inside the input folder, and the same command again.")
    teller.runs("run small --out small/OUT")
    teller.runs("run small --out small/OUT")
    teller.says("The output over the input, and over a folder of my own.")
    teller.runs("run small --out small", status=1)
    (teller.home / "thesis").mkdir()
    (teller.home / "thesis" / "chapter1.tex").write_text("\\section{Lungs}")
    teller.runs("run small --out thesis", status=1)


def damaged_later(teller: Teller) -> None:
    """A scan that was done, and whose input is damaged now; a flipped byte in an output."""
    (series, *_) = sorted({path.parent for path in (teller.home / "small" / "P2").rglob("*.dcm")})
    with sorted(series.iterdir())[15].open("r+b") as file:
        file.truncate(200_000)
    teller.says("A slice of a finished scan was damaged since.")
    teller.runs("run small --out small/OUT", status=1)
    teller.says("What is computed from the run counts the other one alone; the books can be brought in order.")
    teller.runs("stats small/OUT")
    teller.runs("verify small/OUT", status=1)
    teller.runs("run small --out small/OUT --prune", status=1)
    teller.runs("verify small/OUT")
    teller.says("A byte of an output was damaged: verify finds it, the same command mends it.")
    (volume, *_) = sorted((teller.home / "NODULES" / "scans").glob("*/ct.nii.gz"))
    with volume.open("r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    teller.runs("verify NODULES", status=1)
    teller.runs("run data/P1 --out NODULES --annotations annotations.csv")
    teller.runs("verify NODULES")


def wrong_tables(teller: Teller, shared: Path) -> None:
    """Annotations that fit no scan, or some."""
    (teller.home / "others.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.3.4,0,0,0,10\n")
    teller.says("A table in which no row is of my scan.")
    teller.runs("run data/P1 --out WRONG --annotations others.csv", status=1)
    teller.says("A table that knows one of two patients.")
    both = teller.home / "both"
    both.mkdir()
    for name in ("P1", "P2"):
        (both / name).symlink_to(teller.home / "data" / name)
    teller.runs("run both --out SOME --annotations annotations.csv")
    del shared


def luna16(teller: Teller, shared: Path) -> None:
    """One LUNA16 scan in the layouts in which people have it."""
    home = teller.home
    teller.says("LUNA16 as people have it: in subset0/subset0, in one folder, and with the csv beside.")
    subprocess.run([*HILUM, "convert", "data/P1", f"{UID}.mhd"], cwd=home, check=True, capture_output=True)
    subprocess.run([*HILUM, "lungs", f"{UID}.mhd", f"seg-{UID}.mhd"], cwd=home, check=True, capture_output=True)
    layouts = {"nested": ("subset0/subset0", "."), "flat": (".", "."), "beside": ("subset0", "csv")}
    for name, (scans, tables) in layouts.items():
        root = home / f"luna-{name}"
        for part in (scans, tables, "seg-lungs-LUNA16"):
            (root / part).mkdir(parents=True, exist_ok=True)
        for suffix in ("mhd", "raw"):
            os.link(home / f"{UID}.{suffix}", root / scans / f"{UID}.{suffix}")
        rename_mask(home, root / "seg-lungs-LUNA16")
        shutil.copy(shared / "luna16" / "annotations.csv", root / tables)
        teller.runs(f"run luna-{name} --out LUNA-{name} --recipe luna16")


def rename_mask(home: Path, folder: Path) -> None:
    """Give the mask the name that LUNA16's has: that of the scan."""
    text = (home / f"seg-{UID}.mhd").read_text().replace(f"seg-{UID}.raw", f"{UID}.raw")
    (folder / f"{UID}.mhd").write_text(text)
    os.link(home / f"seg-{UID}.raw", folder / f"{UID}.raw")


if __name__ == "__main__":
    sys.exit(main())
