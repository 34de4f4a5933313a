"""Distances, mm, between the true positions of a run's nodules and those in MONAI's LoadImaged and TorchIO's Subject.

    python bench/contenders/nodule_positions.py RUN < NODULES.json

NODULES is a list of nodules: scan, label, ``voxel`` (x, y, z) of the center in the stored grid, its ``world`` position,
and ``middle``, the mean world position of its mask's voxels (null without any); world positions are LPS mm. Prints a
line of JSON for each reader: the largest distance of a center, and of a mask's middle; and the smallest of these
distances if the headers of the first scan are shifted by a tenth of a voxel along an axis.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np

warnings.simplefilter("ignore")  # of torch's, MONAI's and TorchIO's own making

import torchio  # noqa: E402 - after the filter
from monai.transforms import LoadImaged  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SHIFT = 0.1
"""Voxels."""

Loaded = tuple["NDArray[np.float64]", "NDArray[Any]", "NDArray[np.float64]"]
"""The affine of the CT to RAS, the voxels (x, y, z) of the nodules' mask, and the mask's own affine."""


def by_monai(folder: Path) -> Loaded:
    item = LoadImaged(keys=["ct", "nodules"])({name: folder / f"{name}.nii.gz" for name in ("ct", "nodules")})
    return item["ct"].affine.numpy(), item["nodules"].numpy(), item["nodules"].affine.numpy()


def by_torchio(folder: Path) -> Loaded:
    ct, nodules = torchio.ScalarImage(folder / "ct.nii.gz"), torchio.LabelMap(folder / "nodules.nii.gz")
    subject = torchio.Subject(ct=ct, nodules=nodules)
    return subject.ct.affine, subject.nodules.numpy()[0], subject.nodules.affine


READERS = {"MONAI's LoadImaged": by_monai, "TorchIO's Subject": by_torchio}


def world(affine: NDArray[np.float64], voxel: Any) -> NDArray[np.float64]:
    """Convert a voxel (x, y, z) to LPS mm by an affine to RAS."""
    return (np.asarray(affine, np.float64) @ [*voxel, 1])[:3] * (-1, -1, 1)


def distances(loaded: Loaded, nodules: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Measure the distances of the centers, and of the middles of the masks, from the true positions."""
    affine, mask, mask_affine = loaded
    centers = [float(np.linalg.norm(world(affine, nodule["voxel"]) - nodule["world"])) for nodule in nodules]
    middles = []
    for nodule in nodules:
        marked = np.argwhere(mask == nodule["label"])
        if (nodule["middle"] is None) != (len(marked) == 0):
            sys.exit(f"{nodule['scan']}: nodule {nodule['label']} has a mask on one side only")
        if len(marked):
            middles.append(float(np.linalg.norm(world(mask_affine, marked.mean(axis=0)) - nodule["middle"])))
    return centers, middles


def shifted(folder: Path, axis: int, out: Path) -> Path:
    """Write the scan's files with headers that are shifted by a tenth of a voxel along an axis."""
    out.mkdir()
    for name in ("ct.nii.gz", "nodules.nii.gz"):
        image = nibabel.load(folder / name)
        affine = image.affine.copy()
        affine[:3, 3] += SHIFT * affine[:3, axis]
        nibabel.Nifti1Image(np.asanyarray(image.dataobj), affine).to_filename(out / name)
    return out


def measure(
    read: Callable[[Path], Loaded], run: Path, nodules_by_scan: dict[str, list[dict[str, Any]]]
) -> dict[str, float]:
    """Find the largest distances over all scans, and the least for the shifted files of the first scan."""
    results = [distances(read(run / "scans" / name), nodules) for name, nodules in nodules_by_scan.items()]
    name, nodules = next(iter(nodules_by_scan.items()))
    least = []
    with tempfile.TemporaryDirectory() as folder:
        for axis in range(3):
            both = distances(read(shifted(run / "scans" / name, axis, Path(folder) / str(axis))), nodules)
            least += [*both[0], *both[1]]
    return {
        "nodules": sum(len(centers) for centers, _ in results),
        "masks": sum(len(middles) for _, middles in results),
        "center": max(mm for centers, _ in results for mm in centers),
        "middle": max(mm for _, middles in results for mm in middles),
        "moved": min(least),
    }


def main(run: Path) -> None:
    nodules_by_scan: dict[str, list[dict[str, Any]]] = {}
    for nodule in json.load(sys.stdin):
        nodules_by_scan.setdefault(nodule["scan"], []).append(nodule)
    for name, read in READERS.items():
        print(json.dumps({"reader": name, **measure(read, run, nodules_by_scan)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
