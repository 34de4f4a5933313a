"""The volumes of a finished scan, open for training, and the patches cut out of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.patches.crops import crop_scaled
from hilum._kernels.simd.prefetch import empty_aligned
from hilum.errors import MissingInputError
from hilum.io.volumes.open_volumes import OpenArray, read_all, read_padded_box
from hilum.ops.nodules.masks import mask_nodules
from hilum.ops.patches.boxes import lies_inside
from hilum.ops.patches.label_tiles import LabelTiles
from hilum.ops.patches.poses import IDENTITY
from hilum.ops.patches.sampling import KEEP, ROUND, copy_reoriented, sample, sample_labels
from hilum.outputs.volumes import open_stored
from hilum.train.intensity import scale
from hilum.train.patches import air_value

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.io.volumes.open_volumes import OpenVolume
    from hilum.ops.patches.boxes import Box
    from hilum.ops.patches.poses import Pose
    from hilum.ops.patches.sampling import Order
    from hilum.train.intensity import Scaling
    from hilum.train.runs import RunScan


@dataclass(frozen=True, eq=False)
class Opened:
    """A scan's volumes; their voxels as plain arrays where those can be read as they lie, in C order.

    Parameters
    ----------
    ct, labels : OpenVolume
    lungs : ndarray of uint8, shape (z, y, x), or None
    air : float
        What lies outside the volume, in its own unit.
    tiles : LabelTiles or None
        Where the labels' array holds any.
    """

    ct: OpenVolume
    labels: OpenVolume
    lungs: NDArray[np.uint8] | None
    air: float
    ct_array: NDArray[Any] | None
    labels_array: NDArray[Any] | None
    tiles: LabelTiles | None

    @property
    def kept(self) -> bool:
        """Whether it takes memory or an open file, so that few should be open."""
        return self.ct.array is None or self.ct.resident or self.labels.resident

    def cut(self, start: Box, size: Box, scaling: Scaling | None) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """The image, scaled where it shall be, and the labels of a box."""
        mask: NDArray[np.uint8] = read_padded_box(self.labels, start, size)
        box, corner = self.ct_array, start
        if scaling is None or box is None or not lies_inside(self.ct.shape, start, size):
            box, corner = read_padded_box(self.ct, start, size, fill=self.air), (0, 0, 0)
            if scaling is None:
                return box, mask
        if box.dtype != np.int16:
            return scale(box, scaling), mask
        image = np.empty(size, np.float32)
        box.flags.writeable = False  # one compiled version
        crop_scaled(box, corner, image, scaling.lower, scaling.upper - scaling.lower, scaling.mean)
        return image, mask

    def view(self, pose: Pose, scaling: Scaling | None, order: Order) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """The same of a patch that lies as `pose` says, by a spline of this order where it lies between voxels."""
        size = (pose.size, pose.size, pose.size)
        if not pose.resampled and pose.matrix == IDENTITY:
            z, y, x = pose.first
            return self.cut((round(z), round(y), round(x)), size, scaling)
        ct, labels = (self.ct_array, self.ct.shape), (self.labels_array, self.labels.shape)
        finish = KEEP if scaling is None else (1, scaling.lower, scaling.upper - scaling.lower, scaling.mean)
        image = empty_aligned(size, self.ct.dtype if scaling is None else np.float32)

        def cut_image(first: Box, wide: Box) -> NDArray[Any]:
            return read_padded_box(self.ct, first, wide, fill=self.air)

        def cut_labels(first: Box, wide: Box) -> NDArray[Any]:
            return read_padded_box(self.labels, first, wide)

        if pose.resampled:
            sample(*ct, cut_image, pose, image, ROUND if image.dtype == np.int16 else finish, order=order)
        else:
            copy_reoriented(*ct, cut_image, pose, image, finish)
        return image, sample_labels(*labels, cut_labels, pose, tiles=self.tiles)


def open_scan(scan: RunScan, folder: Path, *, lungs: bool) -> Opened:
    """Open a finished scan's volumes.

    Parameters
    ----------
    scan : RunScan
    folder : Path
        Of the run.
    lungs : bool
        Whether its lungs are wanted.

    Returns
    -------
    Opened

    Raises
    ------
    InputError
        If a file is gone or damaged.
    """
    ct, drawn = (open_stored(scan.folder, scan.record, part) for part in ("ct", "nodules"))
    if ct is None:
        raise MissingInputError("the scan's folder holds no ct file", where=scan.folder, do="run it again")
    inside = open_stored(scan.folder, scan.record, "lungs") if lungs else None
    labels = drawn or OpenArray(mask_nodules(scan.geometry, scan.nodules).array, scan.geometry, resident=True)
    plain = _as_it_lies(labels)
    return Opened(
        ct=ct,
        labels=labels,
        lungs=None if inside is None else np.asarray(read_all(inside)),
        air=air_value(scan, folder),
        ct_array=_as_it_lies(ct),
        labels_array=plain,
        tiles=None if plain is None else LabelTiles(plain.reshape(-1), labels.shape),
    )


def _as_it_lies(stored: OpenVolume) -> NDArray[Any] | None:
    """The voxels as a plain array, of a type and an order that the kernels take; None where they are not."""
    array = stored.array
    if array is None or not array.flags.c_contiguous or array.dtype not in {np.dtype(t) for t in ("i2", "u1", "f4")}:
        return None
    plain = np.asarray(array).view()
    plain.flags.writeable = False
    return plain
