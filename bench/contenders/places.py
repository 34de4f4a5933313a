"""Where MONAI's LoadImaged and TorchIO's Subject see the nodules of a finished run, in mm from where they are.

    python bench/contenders/places.py RUN < TOLD.json

TOLD is a list of nodules: their scan and label, ``voxel`` (x, y, z) of the center in the stored grid, its ``world``,
and ``middle``, the mean of its mask's voxels in the world (null where it has none); worlds are LPS mm. For each reader
one line of JSON: the largest distance of a center, and of a mask's middle; and how far they are at least where the
first scan's files say that they lie a tenth of a voxel along one axis from where they do.
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
"""Of a voxel."""

Seen = tuple["NDArray[np.float64]", "NDArray[Any]", "NDArray[np.float64]"]
"""The affine of the CT to RAS, the voxels (x, y, z) of the nodules' mask, and the mask's own affine."""


def by_monai(folder: Path) -> Seen:
    item = LoadImaged(keys=["ct", "nodules"])({name: folder / f"{name}.nii.gz" for name in ("ct", "nodules")})
    return item["ct"].affine.numpy(), item["nodules"].numpy(), item["nodules"].affine.numpy()


def by_torchio(folder: Path) -> Seen:
    ct, nodules = torchio.ScalarImage(folder / "ct.nii.gz"), torchio.LabelMap(folder / "nodules.nii.gz")
    subject = torchio.Subject(ct=ct, nodules=nodules)
    return subject.ct.affine, subject.nodules.numpy()[0], subject.nodules.affine


READERS = {"MONAI's LoadImaged": by_monai, "TorchIO's Subject": by_torchio}


def world(affine: NDArray[np.float64], voxel: Any) -> NDArray[np.float64]:
    """The place (x, y, z) in LPS mm of a voxel (x, y, z) by an affine to RAS."""
    return (np.asarray(affine, np.float64) @ [*voxel, 1])[:3] * (-1, -1, 1)


def distances(seen: Seen, told: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """How far the centers, and the middles of the masks, are from where they are."""
    affine, mask, of_mask = seen
    centers = [float(np.linalg.norm(world(affine, one["voxel"]) - one["world"])) for one in told]
    middles = []
    for one in told:
        marked = np.argwhere(mask == one["label"])
        if (one["middle"] is None) != (len(marked) == 0):
            sys.exit(f"{one['scan']}: nodule {one['label']} has a mask here and none there")
        if len(marked):
            middles.append(float(np.linalg.norm(world(of_mask, marked.mean(axis=0)) - one["middle"])))
    return centers, middles


def moved(folder: Path, axis: int, out: Path) -> Path:
    """The scan's files, which say that they lie a tenth of a voxel along an axis away."""
    out.mkdir()
    for name in ("ct.nii.gz", "nodules.nii.gz"):
        image = nibabel.load(folder / name)
        affine = image.affine.copy()
        affine[:3, 3] += SHIFT * affine[:3, axis]
        nibabel.Nifti1Image(np.asanyarray(image.dataobj), affine).to_filename(out / name)
    return out


def measure(read: Callable[[Path], Seen], run: Path, told: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """The largest distances over all scans, and the least of the first scan's moved files."""
    found = [distances(read(run / "scans" / name), nodules) for name, nodules in told.items()]
    name, nodules = next(iter(told.items()))
    least = []
    with tempfile.TemporaryDirectory() as folder:
        for axis in range(3):
            both = distances(read(moved(run / "scans" / name, axis, Path(folder) / str(axis))), nodules)
            least += [*both[0], *both[1]]
    return {
        "nodules": sum(len(centers) for centers, _ in found),
        "masks": sum(len(middles) for _, middles in found),
        "center": max(mm for centers, _ in found for mm in centers),
        "middle": max(mm for _, middles in found for mm in middles),
        "moved": min(least),
    }


def main(run: Path) -> None:
    told: dict[str, list[dict[str, Any]]] = {}
    for one in json.load(sys.stdin):
        told.setdefault(one["scan"], []).append(one)
    for name, read in READERS.items():
        print(json.dumps({"reader": name, **measure(read, run, told)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
