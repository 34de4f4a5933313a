"""What every trial of `bench/faults.py` does: make scans, run hilum as a person does, look at what lies there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from hilum import write
from hilum.io.unfinished import PARTIAL
from hilum.outputs.finished import is_complete, read_record
from hilum.phantom.chest import make_phantom
from hilum.verify import Fault, verify

HILUM = [sys.executable, "-m", "hilum.cli"]
FAULTY = Path(__file__).resolve().parents[2] / "tests" / "faulty"
RECIPE = "[resample]\nspacing_mm = 8.0\n"
WORKERS = 2


def small_scans(folder: Path, count: int) -> Path:
    """Write tiny phantoms as volume files, and the recipe beside their folder."""
    folder.mkdir()
    (folder.parent / "recipe.toml").write_text(RECIPE)
    for k in range(count):
        phantom = make_phantom(seed=k, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
        write(phantom.scan.ct, folder / f"1.2.{k}.mhd")
    return folder


def command(inputs: Path, out: Path, *words: str, workers: int = WORKERS) -> list[str]:
    recipe = () if "--recipe" in words else ("--recipe", str(inputs.parent / "recipe.toml"))
    return [*HILUM, "run", str(inputs), "--out", str(out), *recipe, "--workers", str(workers), *words]


def hilum(words: list[str], **environment: str) -> tuple[int, str]:
    """Run a command; its status, and what it said on stderr without notes."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    return done.returncode, "".join(x for x in done.stderr.splitlines(True) if not x.startswith("note: "))


def content(out: Path) -> dict[str, str]:
    """Every file of an output that has to be the same each time: the ledger holds seconds."""
    paths = (path for path in out.rglob("*") if path.is_file() and path.name not in {"ledger.jsonl", ".lock"})
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def finished(out: Path) -> tuple[dict[str, int], list[str], list[str]]:
    """Scans under a final name with their inode, those among them that are not whole, and what is half-done."""
    there, broken, partial = {}, [], []
    for path in (out / "scans").iterdir() if (out / "scans").is_dir() else ():
        if path.name.startswith(PARTIAL):
            partial.append(path.name)
            continue
        record = read_record(path)
        sound = record is not None and is_complete(path, record)
        if sound:
            sums = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in record.files}
            sound = sums == {name: facts.sha256 for name, facts in record.files.items()}
        if not sound:
            broken.append(path.name)
        there[path.name] = path.stat().st_ino
    return there, broken, partial


def faults_of(out: Path) -> list[Fault]:
    return [found for found in verify(out) if isinstance(found, Fault)]
