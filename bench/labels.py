"""What label maps cost a run: the same scan with and without them, in turn, in one process.

    python bench/labels.py [--rounds 5] [--order 1] [--format nifti] [--profile] [SERIES LABELS ...] [--roi NAME ...]

Reads a DICOM series and stores it by the recipe luna16 (1 mm), once with and once without label maps, in a new order
each round. LABELS and NAME are what ``hilum run --labels`` and ``--roi`` take. Without SERIES it is a phantom of 240
slices with three label maps on its grid, each alone and then together: both lungs, its nodules as one label, and five
lobes (the lungs cut by planes).

Prints the median seconds of both, in processor time and by the clock, and the median over the rounds of with / without.
On a busy machine the processor time counts.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from contenders.clock import touch_memory

import hilum
from hilum.batch.task import run_one
from hilum.datasets.labels import LabelRequest
from hilum.datasets.survey import survey
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipes import recipe

if TYPE_CHECKING:
    from hilum.scan_ref import ScanRef

GOAL, WITHOUT = 1.10, "without label maps"


def write_inputs(folder: Path) -> tuple[Path, list[str]]:
    """Write a phantom as a DICOM series, and its label maps as NIfTI."""
    phantom = make_phantom(seed=1, shape=(240, 512, 512), spacing=(1.25, 0.7, 0.7))
    write_dicom_series(phantom, folder / "scans" / "case1")
    grid, lungs = phantom.scan.ct.geometry, phantom.lungs.array
    height = np.arange(grid.shape[0])[:, None, None] + 0.4 * np.arange(grid.shape[1])[None, :, None]
    right, left = (lungs == side for side in (1, 2))
    lobes = np.zeros(grid.shape, np.uint8)
    lobes[right] = np.broadcast_to(1 + (height > 190) + (height > 240), grid.shape)[right]
    lobes[left] = np.broadcast_to(4 + (height > 210), grid.shape)[left]
    tumor = (hilum.mask_nodules(grid, phantom.scan.nodules).array > 0).astype(np.uint8)
    for name, array in (("lungs", lungs), ("lobes", lobes), ("tumor", tumor)):
        (folder / name).mkdir()
        hilum.write(hilum.Mask(array, grid), folder / name / "case1.nii.gz")
    return folder / "scans", [f"{name}={folder / name}" for name in ("lungs", "lobes", "tumor")]


def clocked(ref: ScanRef, chosen: hilum.recipes.Recipe, out: Path) -> tuple[float, float]:
    """Make one scan; give processor seconds and seconds by the clock."""
    touch_memory()
    processor, started = time.process_time(), time.perf_counter()
    row = run_one(ref, chosen, out)
    if not row.status.startswith("done"):
        raise SystemExit(f"{row.status}: {row.code}: {row.full_reason or row.reason}")
    return time.process_time() - processor, time.perf_counter() - started


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", nargs="?", type=Path)
    parser.add_argument("labels", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--order", type=int, default=1, choices=(0, 1))
    parser.add_argument("--format", default="nifti")
    parser.add_argument("--roi", action="append", default=[])
    parser.add_argument("--profile", action="store_true")
    words = parser.parse_args()
    chosen = recipe("luna16")
    chosen = msgspec.structs.replace(
        chosen,
        labels=msgspec.structs.replace(chosen.labels, order=words.order),
        output=msgspec.structs.replace(chosen.output, format=words.format),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        series, labels = (words.series, words.labels) if words.series else write_inputs(folder)
        requests = [labels] if words.series else [*([one] for one in labels), labels]
        refs: dict[str, ScanRef] = {}
        for request in requests:
            asked = LabelRequest(sources=tuple(request)) if request else None
            (ref,) = survey([series], labels=asked, rois=tuple(words.roi)).refs
            names = [f"{file.name}{', '.join(to for _, to in file.regions)}" for file in ref.label_files]
            refs[" + ".join(names)] = ref
        refs |= {WITHOUT: replace(ref, label_files=())}
        times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in refs}
        for turn in range(words.rounds + 1):
            for kind in sorted(refs, reverse=bool(turn % 2)):
                taken = clocked(refs[kind], chosen, folder / "made")
                shutil.rmtree(folder / "made")
                if turn:  # the first one compiles and fills caches
                    times[kind].append(taken)
        if words.profile:
            with cProfile.Profile() as profile:
                clocked(ref, chosen, folder / "profiled")
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    print(f"order {words.order}, {words.format}, {words.rounds} rounds; goal: a ratio of at most {GOAL:.2f}")
    for kind, taken in times.items():
        cells = []
        for column, clock in enumerate(("processor", "by the clock")):
            ratio = median(a[column] / b[column] for a, b in zip(taken, times[WITHOUT], strict=True))
            cells.append(f"{clock} {median(one[column] for one in taken):.2f} s ({ratio:.3f})")
        print(f"{kind}: {', '.join(cells)}")


if __name__ == "__main__":
    main()
