"""Overlapping windows over a whole scan, for a model that takes patches, and what it answers stitched together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum._kernels.patches.crops import crop_scaled
from hilum.errors import InputError, UnsupportedError
from hilum.ops.arguments import volume_of
from hilum.ops.intensity import UnitRange
from hilum.ops.patches.boxes import Box, cut_array, lies_inside, three_sizes
from hilum.ops.patches.predictions import Prediction
from hilum.ops.patches.stitching import Starts, Weights, stitch
from hilum.scan import Scan
from hilum.volume import Mask, Volume

_PADDING = {"int16": -1024.0, "uint8": 0.0}  # air in HU, as in training patches; no label


@dataclass(frozen=True, eq=False)
class Windows(Sequence[Volume]):
    """The windows of a volume, in the order of the array; each is cut when it is asked for. `hilum.windows` makes it.

    Parameters
    ----------
    volume : Volume or Mask
        The whole.
    size : tuple of int, (z, y, x)
        Voxels of each window.
    starts : tuple of three tuples of int
        The first voxels along z, y and x; a window begins at each combination. Negative along an axis on which the
        volume is smaller than a window.
    outside : float
        The value of voxels beyond the volume.
    scaling : UnitRange, optional
        How voxels are scaled to float32.
    series_uid : str
        Of the scan, by default empty.

    Examples
    --------
    >>> import hilum
    >>> windows = hilum.windows(hilum.open_run("OUT")[0].ct, 64)
    >>> len(windows), windows[0].shape, windows[1].geometry.index_to_world((0, 0, 0)).shape
    (8, (64, 64, 64), (3,))
    """

    volume: Volume
    size: Box
    starts: Starts
    outside: float
    scaling: UnitRange | None = None
    series_uid: str = ""

    @cached_property
    def corners(self) -> tuple[Box, ...]:
        """The first voxel, (z, y, x), of each window."""
        return tuple(product(*self.starts))

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.corners)

    @overload
    def __getitem__(self, index: int) -> Volume: ...

    @overload
    def __getitem__(self, index: slice) -> list[Volume]: ...

    def __getitem__(self, index: int | slice) -> Volume | list[Volume]:
        """Cut one window.

        Parameters
        ----------
        index : int or slice
            Its number.

        Returns
        -------
        Volume or Mask
            At its place in the world. Without scaling it shows the voxels of the whole, and copies them only where it
            reaches beyond it.
        """
        if isinstance(index, slice):
            return [self[k] for k in range(len(self))[index]]
        start = self.corners[index]
        grid = self.volume.geometry.crop(start, np.add(start, self.size).tolist())
        return replace(self.volume, array=self._cut(start), geometry=grid)

    def batches(self, size: int = 1) -> Iterator[NDArray[Any]]:
        """Cut the windows one after the other, as arrays that a network takes.

        Parameters
        ----------
        size : int, default 1
            Windows of a batch; the last one may have fewer.

        Yields
        ------
        ndarray, shape (n, z, y, x)
            float32 if voxels are scaled, else as they are. Each has its own memory.

        Examples
        --------
        >>> import hilum
        >>> windows = hilum.windows(hilum.open_run("OUT")[0].ct, 64, window=(-1000, 400))
        >>> [batch.shape for batch in windows.batches(5)]
        [(5, 64, 64, 64), (3, 64, 64, 64)]
        """
        if size < 1:
            raise InputError(f"batches of {size} windows, expected at least 1", code="option")
        kind = self.volume.dtype if self.scaling is None else np.float32
        for first in range(0, len(self), size):
            corners = self.corners[first : first + size]
            batch = np.empty((len(corners), *self.size), kind)
            for image, start in zip(batch, corners, strict=True):
                self._cut(start, out=image)
            yield batch

    def stitch(self, answers: Iterable[ArrayLike], *, weights: Weights = "gaussian") -> Prediction:
        """Stitch what a model answers to the windows, in their order: a weighted mean where windows overlap.

        Parameters
        ----------
        answers : iterable of array_like, shape (z, y, x) or (channel, z, y, x)
            One for each window, such as a generator, so that memory holds one at a time. Computed as float32.
        weights : {"gaussian", "constant"}, default "gaussian"
            ``"gaussian"`` trusts the middle of a window more than its borders: a Gaussian with a standard deviation of
            1/8 of the window along each axis, as in nnU-Net and MONAI. ``"constant"`` weighs all voxels alike.

        Returns
        -------
        Prediction
            On the grid of the whole. Where all windows answer the same, it is that to the last bit.

        Raises
        ------
        InputError
            If there are not as many answers as windows, one has another shape, or has NaN or infinity.

        Examples
        --------
        >>> import hilum
        >>> ct = hilum.open_run("OUT")[0].ct
        >>> windows = hilum.windows(ct, 64, overlap=0.5)
        >>> same = windows.stitch(window.array for window in windows)
        >>> bool((same.volume().array == ct.array).all())
        True
        """
        total = stitch(answers, self.volume.shape, self.size, self.starts, weights=weights)
        return Prediction(total, self.volume.geometry, self.series_uid)

    def _cut(self, start: Box, out: NDArray[Any] | None = None) -> NDArray[Any]:
        array, corner = self.volume.array, start
        if not lies_inside(array.shape, start, self.size):
            array, corner = cut_array(array, start, self.size, fill=self.outside), (0, 0, 0)
            array.flags.writeable = False
        if self.scaling is None:
            view = array[tuple(slice(a, a + n) for a, n in zip(corner, self.size, strict=True))]
            if out is not None:
                out[...] = view
            return view
        image = np.empty(self.size, np.float32) if out is None else out
        crop_scaled(array, corner, image, self.scaling.lower, self.scaling.width, self.scaling.mean)
        return image


def windows(
    volume: Volume | Scan,
    size: int | Sequence[int],
    *,
    overlap: float | Sequence[float] = 0.25,
    window: tuple[float, float] | None = None,
    mean: float = 0.0,
    outside: float | None = None,
) -> Windows:
    """Cover a whole scan with overlapping windows, for a model that takes patches; and stitch what it answers.

    Windows begin every ``size * (1 - overlap)`` voxels along an axis. The last one is moved back to end with the scan.
    Where the scan is smaller than a window, one window holds it in its middle, with padding on both sides.

    Parameters
    ----------
    volume : Volume, Mask or Scan, shape (z, y, x)
        On the grid that the model was trained on: `hilum.resample` gives another spacing.
    size : int or sequence of three int, (z, y, x)
        Voxels of a window; one number stands for all axes.
    overlap : float or sequence of three float, (z, y, x), default 0.25
        The part of a window that the next one repeats; at least 0 and less than 1.
    window : tuple of float, HU, optional
        Scale this range to [0, 1] as float32 and subtract `mean`, as `PatchDataset` does; without it windows show the
        voxels as they are, without a copy.
    mean : float, default 0.0
        The mean of the data set.
    outside : float, optional
        The value of padding, before scaling: by default air (-1024 HU) for int16, 0 for uint8. A float volume that is
        smaller than a window needs it.

    Returns
    -------
    Windows
        A sequence of volumes, each at its place in the world; its ``stitch`` turns answers into a `Prediction`.

    Raises
    ------
    InputError
        If the size or the overlap is out of range, the HU range is empty, or `outside` is missing.
    InputTypeError
        If the argument is neither a volume nor a scan.
    UnsupportedError
        If voxels that are not int16 are to be scaled.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.open_run("OUT")[0].scan()
    >>> windows = hilum.windows(scan, (32, 64, 64), overlap=0.5, window=(-1000, 400))
    >>> def model(batch):
    ...     return batch > 0.9  # instead of a network
    >>> answers = (answer for batch in windows.batches(4) for answer in model(batch))
    >>> windows.stitch(answers).mask(threshold=0.5).geometry == scan.ct.geometry
    True
    """
    whole, box = volume_of(volume), three_sizes(size, "window")
    shares = _overlaps(overlap)
    scaling = None
    if window is not None:
        scaling = UnitRange(*map(float, (*window, mean)))
        if not (np.isfinite([scaling.lower, scaling.upper, scaling.mean]).all() and scaling.lower < scaling.upper):
            what = f"window from {window[0]} to {window[1]} HU, mean {mean}: expected finite numbers, lower < upper"
            raise InputError(what, code="option")
        if whole.array.dtype != np.int16 or isinstance(whole, Mask):
            what = f"voxels of {whole.array.dtype} cannot be scaled, only HU as int16"
            raise UnsupportedError(what, do="leave the window out, and call hilum.normalize first")
    axes = zip(whole.shape, box, shares, strict=True)
    starts = cast("Starts", tuple(_starts(*axis) for axis in axes))
    if outside is None:
        outside = 0.0 if isinstance(whole, Mask) else _PADDING.get(whole.array.dtype.name)
    if outside is None and min(map(min, starts)) < 0:
        what = f"the volume, {whole.shape}, is smaller than a window, {box}, and the air of its values is unknown"
        raise InputError(what, do="state the value of padding: outside=...", code="option")
    uid = volume.series_uid if isinstance(volume, Scan) else ""
    return Windows(whole, box, starts, outside or 0.0, scaling, uid)


def _overlaps(overlap: float | Sequence[float]) -> list[float]:
    try:
        shares: list[float] = np.broadcast_to(np.asarray(overlap, np.float64), 3).tolist()
    except (TypeError, ValueError):
        shares = [np.nan]
    if not all(0 <= share < 1 for share in shares):
        what = f"overlap is {overlap!r}, expected one number or three (z, y, x), at least 0 and less than 1"
        raise InputError(what, code="option")
    return shares


def _starts(length: int, size: int, overlap: float) -> tuple[int, ...]:
    """The first voxels of the windows along an axis."""
    if length <= size:
        return (-((size - length) // 2),)
    step = max(1, int(size * (1 - overlap) + 1e-9))
    return (*range(0, length - size, step), length - size)
