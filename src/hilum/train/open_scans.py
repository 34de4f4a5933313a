"""The volumes of a finished scan, open for training, and the patches cut from them."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile.kernel import read_only
from hilum._kernels.patches.crops import crop_scaled
from hilum._kernels.simd.prefetch import empty_aligned
from hilum.errors import MissingInputError
from hilum.io.volumes.open_volumes import OpenArray, OpenVolume, read_all, read_padded_box
from hilum.ops.intensity import UnitRange
from hilum.ops.nodules.masks import mask_nodules
from hilum.ops.patches.boxes import Box, lies_inside
from hilum.ops.patches.coarser import make_coarser
from hilum.ops.patches.poses import IDENTITY, Pose
from hilum.ops.patches.sampling import KEEP, ROUND, LabelTiles, Order, Source, copy_reoriented, sample, sample_labels
from hilum.train import intensity, runs
from hilum.train.label_maps import NODULES, LabelVoxels, mask_part
from hilum.volume import Mask

_KERNEL_TYPES = frozenset({np.dtype("i2"), np.dtype("u1"), np.dtype("f4")})


@dataclass(frozen=True, eq=False)
class OpenScan:
    """The volumes of a scan, to cut patches from.

    Parameters
    ----------
    ct, labels : OpenVolume
        Labels of the nodules, or a label map.
    lungs : Mask or None
        The lung mask, if it was asked for.
    air : float
        The value outside the volume, in the volume's unit.
    ct_array, labels_array : ndarray or None
        The voxels as arrays that kernels read directly; None if they are stored in another way.
    tiles : LabelTiles or None
        The parts of `labels_array` that have labels.
    """

    ct: OpenVolume
    labels: OpenVolume
    lungs: Mask | None
    air: float
    ct_array: NDArray[Any] | None
    labels_array: NDArray[Any] | None
    tiles: LabelTiles | None

    @cached_property
    def voxels(self) -> LabelVoxels:
        """The voxels of `labels`, to draw from."""
        return LabelVoxels(np.asarray(read_all(self.labels)))

    @property
    def is_costly(self) -> bool:
        """Whether it takes memory or an open file, so that few should be open."""
        return self.ct.array is None or self.ct.resident or self.labels.resident

    def cut(self, start: Box, size: Box, scaling: UnitRange | None) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Copy image and labels of a box; scale the image if there is a scaling."""
        mask: NDArray[np.uint8] = read_padded_box(self.labels, start, size)
        box, corner = self.ct_array, start
        if scaling is None or box is None or not lies_inside(self.ct.shape, start, size):
            box, corner = read_padded_box(self.ct, start, size, fill=self.air), (0, 0, 0)
            if scaling is None:
                return box, mask
        if box.dtype != np.int16:
            return intensity.scale(box, scaling), mask
        image = np.empty(size, np.float32)
        box.flags.writeable = False  # one compiled version
        crop_scaled(box, corner, image, scaling.lower, scaling.width, scaling.mean)
        return image, mask

    def cut_pose(
        self, pose: Pose, scaling: UnitRange | None, order: Order, factors: Sequence[float]
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Copy image and labels of a rotated, mirrored, zoomed or resampled patch, as `cut` does."""
        if pose.matrix == IDENTITY and not pose.resampled:
            z, y, x = pose.first
            return self.cut((round(z), round(y), round(x)), pose.size, scaling)
        labels = Source(self.labels_array, self.labels.shape, partial(read_padded_box, self.labels))
        return self.cut_image(pose, scaling, order, factors), sample_labels(labels, pose, tiles=self.tiles)

    def cut_image(self, pose: Pose, scaling: UnitRange | None, order: Order, factors: Sequence[float]) -> NDArray[Any]:
        """Copy the image alone of any patch.

        It is interpolated by a spline of this order where the patch's voxels are between those of the volume, and
        smoothed along the axes whose `factors`, as `PatchShape.factors` gives them, are more than 1.
        """
        finish = KEEP if scaling is None else (1, scaling.lower, scaling.width, scaling.mean)
        image = empty_aligned(pose.size, self.ct.dtype if scaling is None else np.float32)
        ct = Source(self.ct_array, self.ct.shape, partial(read_padded_box, self.ct, fill=self.air))
        if max(factors) > 1:
            ct, pose = make_coarser(ct, pose, factors, order=order)
        if pose.resampled:
            sample(ct, pose, image, ROUND if image.dtype == np.int16 else finish, order=order)
        else:
            copy_reoriented(ct, pose, image, finish)
        return image


class OpenScans:
    """The scans of a data set, opened when they are asked for; a pickled copy opens its own.

    Parameters
    ----------
    scans : list of ListedScan
        Those in use.
    folder : Path
        The run's.
    lungs : bool
        Whether the lung masks are read.
    labels : str
        The label map that is the mask, or that of the nodules.
    cache : int
        How many stay open if each takes memory or an open file.
    """

    def __init__(self, scans: list[runs.ListedScan], folder: Path, *, lungs: bool, labels: str, cache: int) -> None:
        self.scans, self.folder, self.lungs, self.labels, self.cache = scans, folder, lungs, labels, cache
        self._opened: OrderedDict[int, OpenScan] = OrderedDict()

    def __call__(self, k: int) -> OpenScan:
        """The volumes of the scan of this number."""
        if k in self._opened:
            self._opened.move_to_end(k)
            return self._opened[k]
        volumes = self._opened[k] = open_scan(self.scans[k], self.folder, lungs=self.lungs, labels=self.labels)
        if volumes.is_costly:
            while len(self._opened) > self.cache:
                self._opened.popitem(last=False)
        return volumes

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open files."""
        return {**self.__dict__, "_opened": OrderedDict()}


def open_scan(scan: runs.ListedScan, folder: Path, *, lungs: bool, labels: str = NODULES) -> OpenScan:
    """Open the volumes of a finished scan in a run's folder, and read its lung mask if `lungs` says so.

    `labels` names the label map that is the mask, if it is not that of the nodules.
    """
    ct, mask = scan.open("ct"), scan.open(mask_part(labels))
    if ct is None:
        raise MissingInputError("the scan's folder has no ct file", where=scan.folder, do="run it again")
    stored = scan.open("lungs") if lungs else None
    lung_mask = None if stored is None else Mask(np.asarray(read_all(stored)), scan.geometry)
    mask = mask or OpenArray(mask_nodules(scan.geometry, scan.nodules).array, scan.geometry, resident=True)
    mask_array = _kernel_array(mask)
    tiles = None if mask_array is None else LabelTiles(mask_array.reshape(-1), mask.shape)
    return OpenScan(ct, mask, lung_mask, intensity.air_value(scan, folder), _kernel_array(ct), mask_array, tiles)


def _kernel_array(stored: OpenVolume) -> NDArray[Any] | None:
    """Give the voxels as a read-only array that kernels take; None if type or order is another."""
    if (array := stored.array) is None or not array.flags.c_contiguous or array.dtype not in _KERNEL_TYPES:
        return None
    return read_only(np.asarray(array))
