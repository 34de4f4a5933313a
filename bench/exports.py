"""Check the exports of 12 phantom series, and of SERIES, with the programs that they are for.

    python bench/exports.py [--peers PYTHON] [SERIES ANNOTATIONS.csv]

* nnU-Net: ``nnUNetv2_extract_fingerprint --verify_dataset_integrity`` on the export. PYTHON is an environment with
  nnunetv2, from `python3 dev.py frameworks`; without it this part is left out.
* DICOM-SEG: ``dciodvfy`` (Debian's dicom3tools) on every file. The voxels of each segment, placed by the headers with
  pydicom on the grid of the series in SimpleITK, are compared with the run's mask, resampled by SimpleITK.

Each check must fail on a broken export: a label that nnU-Net does not know, a segmentation without its segments, a
segmentation that is shifted by a pixel.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import SimpleITK

from hilum import batch
from hilum.export.nnunet import write_nnunet
from hilum.export.seg import write_segmentations
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipes import recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

NNUNET = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def phantoms(folder: Path, count: int) -> tuple[Path, Path]:
    """Write phantoms as series, each in a folder, and the table of their nodules."""
    rows = ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    for seed in range(count):
        phantom = make_phantom(seed=seed, shape=(60, 120, 120), spacing=(5.0, 3.0, 3.0))
        write_dicom_series(phantom, folder / "series" / f"s{seed}")
        uid = phantom.scan.series_uid
        rows += [f"{uid},{','.join(map(str, n.center))},{n.diameter_mm}" for n in phantom.scan.nodules]
    (folder / "annotations.csv").write_text("\n".join([*rows, ""]))
    return folder / "series", folder / "annotations.csv"


def check_nnunet(run: Path, folder: Path, python: str) -> None:
    """Check an export with nnU-Net, and that it refuses one with an unknown label."""
    for name in NNUNET:
        (folder / name).mkdir(parents=True)
    made = write_nnunet(run, folder / NNUNET[0])
    program = Path(python).with_name("nnUNetv2_extract_fingerprint")
    words = [program, "-d", "501", "--verify_dataset_integrity", "-np", "2", "--clean"]
    places = {name: str(folder / name) for name in NNUNET}

    def passes() -> bool:
        done = subprocess.run(words, env={**os.environ, **places}, capture_output=True, text=True, check=False)
        return done.returncode == 0 and "verify_dataset_integrity Done" in done.stdout

    if not passes():
        sys.exit(f"nnU-Net refuses {made.folder}")
    found = json.loads(next((folder / NNUNET[1]).rglob("dataset_fingerprint.json")).read_text())
    first, label = found["spacings"][0], next((made.folder / "labelsTr").iterdir())
    print(f"nnU-Net: {made.cases} cases whole, the first of {found['shapes_after_crop'][0]} voxels at {first} mm")
    mask = SimpleITK.ReadImage(label)
    mask[0, 0, 0] = 9
    SimpleITK.WriteImage(mask, label)
    if passes():
        sys.exit("nnU-Net did not notice an unknown label")


def count_complaints(path: Path) -> tuple[int, int]:
    """Count the errors and warnings of dciodvfy for a file."""
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)  # noqa: S607 - of the system
    lines = (done.stdout + done.stderr).splitlines()
    if not any("Segmentation" in line for line in lines):
        sys.exit(f"{path}: not a Segmentation for dciodvfy")
    return sum(line.startswith("Error") for line in lines), sum(line.startswith("Warning") for line in lines)


def voxels_of(made: pydicom.Dataset, grid: SimpleITK.Image) -> NDArray[np.uint8]:
    """Put the pixels of a DICOM-SEG on a grid, at the positions in its headers."""
    array = np.zeros(grid.GetSize()[::-1], np.uint8)
    shared = made.SharedFunctionalGroupsSequence[0]
    row, column = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    down, across = (float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing)
    step = np.array(grid.GetDirection()).reshape(3, 3) * grid.GetSpacing()
    frames = made.pixel_array.reshape(-1, made.Rows, made.Columns)
    for frame, group in zip(frames, made.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        identified = group if "SegmentIdentificationSequence" in group else shared
        y, x = np.nonzero(frame)
        points = origin + x[:, None] * across * row + y[:, None] * down * column
        voxels = np.linalg.solve(step, (points - grid.GetOrigin()).T).T
        whole = voxels.round().astype(int)
        if len(whole) and np.abs(voxels - whole).max() > 0.01:
            sys.exit("a pixel of the segmentation is between pixels of the series")
        array[tuple(whole[:, ::-1].T)] = identified.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    return array


def series_of(folder: Path, uid: str) -> SimpleITK.Image:
    """Read a DICOM series with SimpleITK."""
    for parent in {path.parent for path in folder.rglob("*") if path.is_file()}:
        if uid in SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(parent)):
            return SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(parent), uid))
    return sys.exit(f"{folder}: no series {uid}")


def check_segmentations(run: Path, series: Path, folder: Path) -> None:
    """Check every file with dciodvfy, and compare its voxels with the run's masks."""
    made = write_segmentations(run, folder, sources=[series])
    errors, warnings, differ, voxels, moved = 0, 0, 0, 0, []
    for path in sorted(folder.rglob("*.dcm")):
        counts = count_complaints(path)
        errors, warnings = errors + counts[0], warnings + counts[1]
        scan, seg = run / "scans" / path.parent.name, pydicom.dcmread(path)
        grid = series_of(series, json.loads((scan / "scan.json").read_text())["series_uid"])
        mask = SimpleITK.ReadImage(scan / f"{path.stem}.nii.gz")
        nearest = SimpleITK.Resample(mask, grid, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
        wanted = SimpleITK.GetArrayFromImage(nearest)
        numbers = np.unique(wanted)  # segments are numbered from 1, also if a label has lost its last voxel
        wanted = np.searchsorted(numbers, wanted).astype(np.uint8)
        differ += int((voxels_of(seg, grid) != wanted).sum())
        voxels += wanted.size
        moved.append(int((voxels_of(shifted_by_a_pixel(seg), grid) != wanted).sum()))
    print(f"DICOM-SEG: {made.files} files of {made.scans} scans, {made.segments} segments; dciodvfy: {errors} errors, "
          f"{warnings} warnings; {differ} of {voxels} voxels differ (shifted: at least {min(moved)})")  # fmt: skip
    del seg.SegmentSequence
    seg.save_as(folder / "broken.dcm")
    if errors or differ or not min(moved) or not count_complaints(folder / "broken.dcm")[0]:
        sys.exit("a segmentation is wrong, or a broken one was not noticed")


def shifted_by_a_pixel(seg: pydicom.Dataset) -> pydicom.Dataset:
    """Copy a segmentation and shift it by one pixel along its rows."""
    other = pydicom.Dataset(seg)
    other.file_meta = seg.file_meta
    shared = seg.SharedFunctionalGroupsSequence[0]
    row = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient[:3], float)
    step = row * float(shared.PixelMeasuresSequence[0].PixelSpacing[1])
    other.PerFrameFunctionalGroupsSequence = [_shifted(group, step) for group in seg.PerFrameFunctionalGroupsSequence]
    return other


def _shifted(group: Any, step: NDArray[np.float64]) -> pydicom.Dataset:
    position = pydicom.Dataset()
    position.ImagePositionPatient = list(np.array(group.PlanePositionSequence[0].ImagePositionPatient, float) + step)
    shifted = pydicom.Dataset(group)
    shifted.PlanePositionSequence = [position]
    return shifted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", type=Path, nargs="?")
    parser.add_argument("annotations", type=Path, nargs="?")
    parser.add_argument("--peers", default="", help="Python of an environment with nnunetv2")
    args = parser.parse_args()
    if shutil.which("dciodvfy") is None:
        sys.exit("dciodvfy is not installed: it is in Debian's dicom3tools")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = {"12 phantoms": phantoms(folder / "phantoms", 12)}
        if args.series:
            inputs[str(args.series)] = (args.series, args.annotations)
        for number, (title, (series, table)) in enumerate(inputs.items()):
            print(f"{title}:", flush=True)
            refs, _ = batch.index([series], annotations=table)
            run = folder / f"run{number}"
            batch.run(refs, recipe("default"), run)
            check_segmentations(run, series, folder / f"seg{number}")
            if args.peers:
                check_nnunet(run, folder / f"nnunet{number}", args.peers)


if __name__ == "__main__":
    main()
