"""Mean, standard deviation and percentiles of the voxels of a scan or a data set, exactly and in one pass."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile.kernel import read_only
from hilum._kernels.intensity.tables import count_values
from hilum.errors import InputError, UnsupportedError
from hilum.ops.finite import check_finite
from hilum.volume import Volume

_VALUES = 1 << 16
_LOWEST = -(1 << 15)


@dataclass(frozen=True, eq=False)
class HuHistogram:
    """How often each int16 value occurs. Histograms of many scans can be added.

    Parameters
    ----------
    counts : ndarray of int64, shape (65536,)
        ``counts[v + 32768]`` is the number of voxels of v HU. The default is an empty histogram, to start a sum with.

    Examples
    --------
    >>> from hilum.geometry import Geometry
    >>> from hilum.volume import Volume
    >>> hu = Volume(np.array([[[-1000, -1000, 40, 400]]], np.int16), Geometry((1, 1, 4), (1.0, 1.0, 1.0)))
    >>> both = count_hu(hu) + count_hu(hu)
    >>> both.total, both.mean(), round(both.mean(lower=-1000, upper=400), 5), both.percentile(50)
    (8, -390.0, 0.43571, -1000.0)
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_VALUES, np.int64))

    def __post_init__(self) -> None:
        if self.counts.shape != (_VALUES,) or self.counts.dtype != np.int64 or self.counts.min() < 0:
            what = f"a histogram has {_VALUES} counts of int64, 0 or more, not {self.counts.shape} {self.counts.dtype}"
            raise InputError(what)
        object.__setattr__(self, "counts", read_only(self.counts))

    def __add__(self, other: "HuHistogram") -> "HuHistogram":
        return HuHistogram(self.counts + other.counts)

    @property
    def total(self) -> int:
        """Number of voxels counted."""
        return int(self.counts.sum())

    def mean(self, *, lower: float | None = None, upper: float | None = None) -> float:
        """Compute the mean in HU, or of the values that `hilum.normalize` makes of them.

        Parameters
        ----------
        lower, upper : float, HU, optional
            The range that becomes [0, 1]; give both or none.

        Returns
        -------
        float
            With a range: the mean that `hilum.zero_center` subtracts.

        Raises
        ------
        InputError
            If the histogram or the range is empty.
        """
        return float(self.counts @ _scaled(lower, upper) / self._nonempty_total())

    def std(self, *, lower: float | None = None, upper: float | None = None) -> float:
        """Compute the standard deviation (divided by the number of voxels), in HU or scaled as for `mean`.

        Parameters
        ----------
        lower, upper : float, HU, optional
            The range that is scaled to [0, 1]; by default values stay in HU.

        Returns
        -------
        float

        Raises
        ------
        InputError
            If the histogram or the range is empty.
        """
        values = _scaled(lower, upper) - self.mean(lower=lower, upper=upper)
        return float(np.sqrt(self.counts @ values**2 / self._nonempty_total()))

    def percentile(self, percent: float) -> float:
        """Find the lowest value that at least `percent` of the voxels do not exceed.

        Parameters
        ----------
        percent : float
            0 to 100.

        Returns
        -------
        float, HU
            A value that occurs (numpy's method ``"inverted_cdf"``).

        Raises
        ------
        InputError
            If the histogram is empty or `percent` is out of range.
        """
        if not 0 <= percent <= 100:
            raise InputError(f"percentile {percent} is not between 0 and 100", code="option")
        rank = max(1, int(np.ceil(self._nonempty_total() * (percent / 100))))
        return float(np.searchsorted(np.cumsum(self.counts), rank) + _LOWEST)

    def _nonempty_total(self) -> int:
        if not self.total:
            raise InputError("the histogram is empty, so it has no statistics", do="add a volume first")
        return self.total


def count_hu(volume: Volume, *, workers: int = 0) -> HuHistogram:
    """Count the values of a CT.

    Parameters
    ----------
    volume : Volume of int16, shape (z, y, x), HU
        The volume.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    HuHistogram

    Raises
    ------
    UnsupportedError
        If the voxels are not int16; `measure_moments` takes other types.
    """
    if volume.array.dtype.newbyteorder("=") != np.int16:
        raise UnsupportedError(f"a histogram needs HU as int16, not {volume.array.dtype}")
    return HuHistogram(count_values(volume.array, workers=workers))


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of voxels of any type. Moments of several scans can be added.

    Parameters
    ----------
    total : int
        Number of voxels.
    mean : float
        Of all voxels.
    squares : float
        Sum of the squared deviations from the mean.
    lowest, highest : float
        The least and the greatest value.
    """

    total: int = 0
    mean: float = 0.0
    squares: float = 0.0
    lowest: float = float("inf")
    highest: float = float("-inf")

    def __add__(self, other: "Moments") -> "Moments":
        # Chan, Golub, LeVeque (The American Statistician 37(3):242-247, 1983): no sums of squares are subtracted.
        if not (total := self.total + other.total):
            return self
        difference = other.mean - self.mean
        return Moments(
            total,
            self.mean + difference * (other.total / total),
            self.squares + other.squares + difference * difference * (self.total * (other.total / total)),
            min(self.lowest, other.lowest),
            max(self.highest, other.highest),
        )

    @property
    def std(self) -> float:
        """Standard deviation (divided by the number of voxels); 0 without voxels."""
        return float(np.sqrt(self.squares / self.total)) if self.total else 0.0


def measure_moments(volume: Volume) -> Moments:
    """Compute mean and standard deviation of a volume's voxels, summed in double precision.

    Parameters
    ----------
    volume : Volume, shape (z, y, x)
        Of any type, such as the float32 of `hilum.normalize`.

    Returns
    -------
    Moments

    Raises
    ------
    InputError
        If a voxel is NaN or infinite.
    """
    check_finite(volume.array)
    moments = Moments()
    for part in volume.array:
        values = part.astype(np.float64)
        mean = float(values.mean())
        squares = float(np.square(values - mean).sum())
        moments += Moments(values.size, mean, squares, float(values.min()), float(values.max()))
    return moments


def _scaled(lower: float | None, upper: float | None) -> NDArray[np.float64]:
    values = np.arange(_LOWEST, _LOWEST + _VALUES, dtype=np.float64)
    if lower is None and upper is None:
        return values
    if lower is None or upper is None or not lower < upper:
        raise InputError(f"the range from {lower} to {upper} HU is empty, expected lower < upper", code="option")
    return np.clip((values - lower) / (upper - lower), 0.0, 1.0)
