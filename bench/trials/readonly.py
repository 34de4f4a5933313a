"""A finished run on a disk that one may only read: it is read by every command, and refuses what would write to it."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trials.runs import HILUM, command, content, hilum, small_scans

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path


def readonly(asked: argparse.Namespace, scratch: Path) -> bool:  # noqa: ARG001 - as the others
    """Give every command a run on a read-only mount."""
    inputs, out, made = small_scans(scratch / "in", 3), scratch / "out", scratch / "made"
    hilum(command(inputs, out))
    made.mkdir()
    before, well = content(out), True
    with mounted(out):
        for words, wanted in plays(out, made, inputs):
            status, told = hilum([*HILUM, *words])
            last = told.splitlines()[-1] if told else ""
            good = status == wanted and "should not" not in told and "Traceback" not in told
            good = good and (wanted == 0 or (told.count("\n") == 1 and len(last) <= 300))
            print(f"{'good' if good else 'BAD '} {status} {' '.join(words[:2]):18s} {last.replace(str(scratch), '')}")
            well &= good
    return well and content(out) == before


def plays(out: Path, made: Path, inputs: Path) -> list[tuple[list[str], int]]:
    """Every command on a run, and the status that it ends with."""
    run = str(out)
    return [
        (["verify", run], 0),
        (["stats", run], 0),
        (["report", run, "--out", str(made / "page.html")], 0),
        (["report", run], 1),
        (["slices", run, "--out", str(made / "slices")], 0),
        (["store", run, "--format", "npy", "--out", str(made / "npy")], 0),
        (["export", "csv", run, "--out", str(made / "boxes.csv")], 0),
        (["plot", "montage", str(next((out / "scans").iterdir())), "--out", str(made / "m.png")], 0),
        (command(inputs, out)[len(HILUM) :], 1),
    ]


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """Mount a folder over itself, read-only."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)  # noqa: S607 - root
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)  # noqa: S607 - as above
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - as above
