"""What a model says of every voxel of a scan: as volumes, as a mask, or as detections in the world."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.bits import coordinates, pack
from hilum._kernels.components.labeling import find_components
from hilum.errors import InputError
from hilum.geometry import Geometry, Vector
from hilum.interop.frozen import freeze
from hilum.volume import Mask, Volume


class Detection(NamedTuple):
    """A point that a detector reports.

    Parameters
    ----------
    center : tuple of float, (x, y, z), LPS mm
        Where it is in the patient.
    diameter_mm : float
        Of a sphere as large as the voxels found.
    probability : float
        How sure the detector is.

    Examples
    --------
    >>> import hilum
    >>> hilum.Detection((-20.0, 10.0, -35.5), 6.2, 0.94).diameter_mm
    6.2
    """

    center: Vector
    diameter_mm: float
    probability: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of every voxel of a scan. ``stitch`` of `hilum.windows` makes it.

    Parameters
    ----------
    array : ndarray of float32, shape (channel, z, y, x)
        One value for each channel and voxel; becomes read-only, as the array of a `Volume` does.
    geometry : Geometry
        Where the voxels lie.
    series_uid : str
        Of the scan; by default empty.

    Raises
    ------
    InputError
        If the array has another shape.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> grid = hilum.Geometry((2, 2, 2), (1.0, 1.0, 1.0))
    >>> hilum.Prediction(np.zeros((3, 2, 2, 2), np.float32), grid).mask().array.max()
    np.uint8(0)
    """

    array: NDArray[np.float32]
    geometry: Geometry
    series_uid: str = ""

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.shape[1:] != self.geometry.shape or not len(self.array):
            what = f"an array of shape {self.array.shape} on a grid of shape {self.geometry.shape}"
            raise InputError(what, do="give (channel, z, y, x)", code="option")
        object.__setattr__(self, "array", freeze(self.array))

    def volume(self, channel: int = 0) -> Volume:
        """Give the values of one channel.

        Parameters
        ----------
        channel : int, default 0
            Its number.

        Returns
        -------
        Volume of float32

        Raises
        ------
        InputError
            If there is no such channel.

        Examples
        --------
        >>> import hilum
        >>> windows = hilum.windows(hilum.open_run("OUT")[0].ct, 48)
        >>> windows.stitch(one.array > 0 for one in windows).volume().dtype
        dtype('float32')
        """
        if not 0 <= channel < len(self.array):
            raise InputError(f"there is no channel {channel} of {len(self.array)}", code="option")
        return Volume(self.array[channel], self.geometry)

    def mask(self, threshold: float = 0.5) -> Mask:
        """Give each voxel a label.

        Parameters
        ----------
        threshold : float, default 0.5
            Of one channel: a voxel with more is 1. Several channels need none: the label is the number of the channel
            with the largest value, the first one of equal ones, and channel 0 is the background.

        Returns
        -------
        Mask

        Raises
        ------
        InputError
            If there are more than 256 channels.

        Examples
        --------
        >>> import hilum
        >>> windows = hilum.windows(hilum.open_run("OUT")[0].ct, 48)
        >>> windows.stitch(one.array > 0 for one in windows).mask().volumes_ml().keys()
        dict_keys([1])
        """
        if len(self.array) == 1:
            return Mask((self.array[0] > threshold).view(np.uint8), self.geometry)
        if len(self.array) > 256:
            raise InputError(f"{len(self.array)} channels; a mask has at most 256 labels", code="option")
        best, label = self.array[0].copy(), np.zeros(self.geometry.shape, np.uint8)
        for number, values in enumerate(self.array[1:], 1):
            label[values > best] = number
            np.maximum(best, values, out=best)
        return Mask(label, self.geometry)

    def detections(self, threshold: float = 0.5, *, channel: int = 0, least_mm: float = 0.0) -> list[Detection]:
        """Give the connected voxels above a threshold as points in the world.

        Voxels that share a face, an edge or a corner belong together. The center of a detection is the mean of its
        voxels, weighted by their values; its probability is their largest value.

        Parameters
        ----------
        threshold : float, default 0.5
            A voxel with more belongs to a detection; at least 0.
        channel : int, default 0
            The channel with the probabilities.
        least_mm : float, default 0.0
            Leave out detections with a smaller diameter.

        Returns
        -------
        list of Detection
            The most probable first.

        Raises
        ------
        InputError
            If there is no such channel, or the threshold is negative.

        Examples
        --------
        >>> import hilum
        >>> import numpy as np
        >>> array = np.zeros((1, 4, 4, 4), np.float32)
        >>> array[0, 2, 1:3, 3] = 0.9
        >>> hilum.Prediction(array, hilum.Geometry((4, 4, 4), (2.0, 1.0, 1.0))).detections()[0].center
        (3.0, 1.5, 4.0)
        """
        values = self.volume(channel).array
        if not threshold >= 0:
            raise InputError(f"the threshold is {threshold}, expected at least 0", code="option")
        found = pack(values > threshold)
        runs = find_components(found, corners=True)
        voxels, which = coordinates(found), np.repeat(runs.component, runs.stop - runs.start)
        value = values[tuple(voxels.T)].astype(np.float64)
        most = np.zeros(runs.number)
        np.maximum.at(most, which, value)
        total, count = np.bincount(which, value, runs.number), np.bincount(which, minlength=runs.number)
        middle = np.stack([np.bincount(which, value * axis, runs.number) / total for axis in voxels.T], axis=1)
        diameter = np.cbrt(6 / np.pi * count * self.geometry.voxel_volume)
        world = self.geometry.index_to_world(middle).tolist()
        columns = zip(world, diameter.tolist(), most.tolist(), strict=True)
        rows = [Detection((x, y, z), wide, sure) for (x, y, z), wide, sure in columns]
        return sorted((one for one in rows if one.diameter_mm >= least_mm), key=lambda one: -one.probability)
