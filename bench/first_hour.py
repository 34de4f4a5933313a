"""A new user's first hour with hilum, on a copy of real scans: each command and its output.

    python bench/first_hour.py SHARED [--scratch DIR]

SHARED has the folders lidc-idri-0314, lung-pet-ct-dx-A0002, tilt-ge-head, cip-ct64 and luna16, as for the tests. Exits
1 if a command ends with another status than expected.
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


class Session:
    """Run commands in a scratch folder, print them with their output, and count unexpected exit statuses."""

    def __init__(self, home: Path) -> None:
        self.home, self.wrong = home, 0

    def comment(self, text: str) -> None:
        """Print the user's intention."""
        print(f"\n# {text}")

    def run(self, line: str, *, status: int = 0) -> None:
        """Run a command and print its output."""
        print(f"$ hilum {line}", flush=True)
        done = subprocess.run([*HILUM, *line.split()], cwd=self.home, capture_output=True, text=True, check=False)
        for output in (done.stderr, done.stdout):
            print("".join(f"  {row}\n" for row in output.replace(f"{self.home}/", "").splitlines()), end="")
        print(f"  (exit status {done.returncode})")
        if done.returncode != status or "Traceback" in done.stderr or done.stderr.startswith("unexpected "):
            self.wrong += 1
            print(f"  !!! expected {status}")

    def index(self, out: str) -> None:
        """Print columns of the run's index: which scan is which input, and its status."""
        with (self.home / out / "scans.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        print(f"$ cut -d, -f1,5-8 {out}/scans.csv")
        for row in rows:
            print("  " + "  ".join(row[name] or "-" for name in ("id", "input", "path", "status", "codes")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        session = Session(Path(scratch).resolve())
        shared = arguments.shared.resolve()
        mixed_folder(session, shared)
        annotations(session, shared)
        output_inside(session)
        damaged_later(session)
        wrong_tables(session, shared)
        luna16(session, shared)
    print(f"\n{session.wrong} commands ended with an unexpected status")
    return int(session.wrong > 0)


def mixed_folder(session: Session, shared: Path) -> None:
    """Run a mixed folder: several patients, a link, a failed download, a head, a label map."""
    data = session.home / "data"
    shutil.copytree(shared / "lidc-idri-0314" / "image", data / "P1")
    shutil.copytree(shared / "lung-pet-ct-dx-A0002", data / "P2")
    shutil.copytree(shared / "tilt-ge-head", data / "P3-head")
    shutil.copytree(shared / "lidc-idri-partial", session.home / "elsewhere")
    (data / "P4-linked").symlink_to(session.home / "elsewhere")
    (data / "P5-failed").mkdir()
    for k in range(3):
        (data / "P5-failed" / f"1-{k:03d}.dcm").write_bytes(b"")
    (data / "P6-annexed").mkdir()
    for k in range(3):
        (data / "P6-annexed" / f"1-{k:03d}.dcm").symlink_to(f"../.git/annex/objects/{k}")
    shutil.copytree(shared / "cip-ct64", data / "P7-volumes", ignore=shutil.ignore_patterns("ct-64Dicom"))
    session.comment("What did I download? data/ holds P1 to P7.")
    session.run("info data")
    session.comment("Preprocess all of it.")
    session.run("run data --out OUT", status=1)
    session.index("OUT")
    session.comment("Again: nothing is made twice.")
    session.run("run data --out OUT", status=1)
    session.run("report OUT")
    session.run("verify OUT")


def annotations(session: Session, shared: Path) -> None:
    """Run the same scan with and without its annotations."""
    shutil.copy(shared / "luna16" / "annotations.csv", session.home)
    session.comment("P1 is a LUNA16 scan: with its nodules.")
    session.run("run data/P1 --out NODULES --annotations annotations.csv")
    session.comment("I forget the annotations.")
    session.run("run data/P1 --out NODULES", status=1)
    session.comment("I mistype them, though all is done.")
    session.run("run data/P1 --out NODULES --annotations nope.csv", status=1)
    session.run("run data/P1 --out NODULES --annotations annotations.csv")


def output_inside(session: Session) -> None:
    """Put the output inside the input, twice; and onto other folders."""
    (session.home / "small").mkdir()
    shutil.copytree(session.home / "data" / "P2", session.home / "small" / "P2")
    session.comment("The output inside the input folder, and the same command again.")
    session.run("run small --out small/OUT")
    session.run("run small --out small/OUT")
    session.comment("The output over the input, and over a folder of my own.")
    session.run("run small --out small", status=1)
    (session.home / "thesis").mkdir()
    (session.home / "thesis" / "chapter1.tex").write_text("\\section{Lungs}")
    session.run("run small --out thesis", status=1)


def damaged_later(session: Session) -> None:
    """Damage the input of a finished scan, and a byte of an output."""
    (series, *_) = sorted({path.parent for path in (session.home / "small" / "P2").rglob("*.dcm")})
    with sorted(series.iterdir())[15].open("r+b") as file:
        file.truncate(200_000)
    session.comment("A slice of a finished scan was damaged since.")
    session.run("run small --out small/OUT", status=1)
    session.comment("Statistics count only the other scan; --prune removes the damaged one.")
    session.run("stats small/OUT")
    session.run("verify small/OUT", status=1)
    session.run("run small --out small/OUT --prune", status=1)
    session.run("verify small/OUT")
    session.comment("A byte of an output was damaged: verify finds it, the same command repairs it.")
    (volume, *_) = sorted((session.home / "NODULES" / "scans").glob("*/ct.nii.gz"))
    with volume.open("r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    session.run("verify NODULES", status=1)
    session.run("run data/P1 --out NODULES --annotations annotations.csv")
    session.run("verify NODULES")


def wrong_tables(session: Session, shared: Path) -> None:
    """Give annotations that match no scan, or only some."""
    (session.home / "others.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.3.4,0,0,0,10\n")
    session.comment("A table in which no row is of my scan.")
    session.run("run data/P1 --out WRONG --annotations others.csv", status=1)
    session.comment("A table that knows one of two patients.")
    both = session.home / "both"
    both.mkdir()
    for name in ("P1", "P2"):
        (both / name).symlink_to(session.home / "data" / name)
    session.run("run both --out SOME --annotations annotations.csv")
    del shared


def luna16(session: Session, shared: Path) -> None:
    """Run one LUNA16 scan in the usual folder layouts."""
    home = session.home
    session.comment("LUNA16 in the usual layouts: in subset0/subset0, in one folder, with the csv in another folder.")
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
        session.run(f"run luna-{name} --out LUNA-{name} --recipe luna16")


def rename_mask(home: Path, folder: Path) -> None:
    """Rename the mask to the scan's name, as in LUNA16."""
    text = (home / f"seg-{UID}.mhd").read_text().replace(f"seg-{UID}.raw", f"{UID}.raw")
    (folder / f"{UID}.mhd").write_text(text)
    os.link(home / f"seg-{UID}.raw", folder / f"{UID}.raw")


if __name__ == "__main__":
    sys.exit(main())
