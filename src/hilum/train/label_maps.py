"""Label maps in training: the scans that have one, the values of its labels, and voxels drawn from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.errors import InputError, MissingInputError
from hilum.geometry import Geometry
from hilum.ops.patches.shapes import PatchShape
from hilum.outputs.finished import LABELS
from hilum.scan import LEFT_LUNG, RIGHT_LUNG
from hilum.train.positions import PatchPosition, as_vector
from hilum.train.runs import ListedScan, Skip

NODULES = "nodules"  # the mask of nodules, which every run with annotations has; not a label map


LUNG_CLASSES = {"lung_right": RIGHT_LUNG, "lung_left": LEFT_LUNG}
"""The values of the lung mask by the names that exports give them."""


def mask_part(labels: str) -> str:
    """The stored part that is the mask: of the nodules, or of a label map."""
    return labels if labels == NODULES else f"{LABELS}/{labels}"


def scans_with(
    scans: Sequence[ListedScan], labels: str, *, filled: bool = False
) -> tuple[list[ListedScan], list[Skip]]:
    """Choose the scans that have a label map.

    Parameters
    ----------
    scans : sequence of ListedScan
        The finished scans to choose from.
    labels : str
        The name of the label map.
    filled : bool
        Leave out scans whose label map marks no voxel.

    Returns
    -------
    used : list of ListedScan
    skipped : list of Skip
        Codes ``"no-labels"`` and ``"empty-labels"``.

    Raises
    ------
    MissingInputError
        If no scan has it.
    """
    used, skipped = list[ListedScan](), list[Skip]()
    for scan in scans:
        if labels not in scan.record.label_maps:
            skipped.append(scan.skip("no-labels", f"it has no label map {labels}"))
        elif filled and not any(scan.record.label_maps[labels].volumes_ml.values()):
            skipped.append(scan.skip("empty-labels", f"its label map {labels} marks no voxel"))
        else:
            used.append(scan)
    if scans and not used:
        named = sorted({name for scan in scans for name in scan.record.label_maps})
        what = f"no scan has a label map {labels!r} with a voxel" if named else f"no scan has a label map {labels!r}"
        do = f"choose one of {', '.join(named)}" if named else "give --labels to 'hilum run'"
        raise MissingInputError(what, where=scans[0].folder.parent.parent, do=do, code="no-labels")
    return used, skipped


def label_values(scans: Sequence[ListedScan], labels: str) -> dict[str, int]:
    """Collect the names and values of a label map's labels over the scans that have it.

    A label that its file does not name is called as its value, or as the label map if it is the only one. Another
    scan may name it.

    Raises
    ------
    InputError
        If a name has two values, or a value two names.
    """
    values: dict[str, int] = {}
    names: dict[int, str] = {}
    for scan in scans if labels != NODULES else ():
        record = scan.record.label_maps.get(labels)
        for name, value in record.values.items() if record else ():
            if name in {labels, str(value)}:
                names.setdefault(value, "")
            elif values.setdefault(name, value) != value or (names.get(value) or name) != name:
                what = (
                    f"label map {labels}: {name!r} is {value} here, and other scans have another name or value for it"
                )
                do = "name the values of every scan's label map in the same way, and run it again"
                raise InputError(what, where=scan.folder, do=do, code="label-values")
            else:
                names[value] = name
    return {names[value] or (labels if len(names) == 1 else str(value)): value for value in sorted(names)}


@dataclass(frozen=True, eq=False)
class LabelVoxels:
    """The labeled voxels of a mask, to draw from; every one is equally probable.

    Parameters
    ----------
    array : ndarray of uint8, shape (z, y, x)
        May be memory-mapped.
    """

    array: NDArray[Any]

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """The number of labeled voxels up to and with each slice."""
        return np.cumsum([np.count_nonzero(plane) for plane in self.array], dtype=np.int64)

    def voxel(self, number: int) -> tuple[int, int, int]:
        """The labeled voxel of this number, in the order of the array."""
        z = int(np.searchsorted(self.ends, number, side="right"))
        within = number - (int(self.ends[z - 1]) if z else 0)
        y, x = divmod(int(np.flatnonzero(self.array[z])[within]), self.array.shape[2])
        return z, y, x

    def of(self, value: int) -> "LabelVoxels":
        """The voxels of one label."""
        return LabelVoxels(np.where(self.array == value, self.array, 0))

    def are_far(self, world: ArrayLike, *, grid: Geometry, distance_mm: float) -> NDArray[np.bool_]:
        """Mark the points, shape (n, 3), LPS mm, that have at least this distance to the center of every voxel."""
        reach = np.ceil(np.divide(distance_mm, grid.spacing)).astype(int)
        far = []
        for index in grid.world_to_index(world):
            low = np.clip(np.floor(index).astype(int) - reach, 0, grid.shape)
            high = np.clip(np.ceil(index).astype(int) + reach + 1, low, grid.shape)
            box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
            apart = (np.argwhere(self.array[box]) + low - index) * grid.spacing
            far.append(not len(apart) or bool((apart**2).sum(axis=1).min() >= distance_mm**2))
        return np.array(far, np.bool_)

    def position(
        self, grid: Geometry, shape: PatchShape, jitter_mm: float, generator: np.random.Generator
    ) -> PatchPosition:
        """Draw a patch around a labeled voxel, moved by up to `jitter_mm` along each array axis."""
        z, y, x = self.voxel(int(generator.integers(self.ends[-1])))
        jitter = generator.uniform(-jitter_mm, jitter_mm, 3) / grid.spacing
        center = as_vector(shape.center(np.add((z, y, x), jitter)))
        return PatchPosition("label", center, as_vector(grid.index_to_world((z, y, x))), value=int(self.array[z, y, x]))
