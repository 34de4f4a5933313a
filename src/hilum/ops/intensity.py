"""Convert Hounsfield units to the gray values of a network or a screen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.intensity.tables import look_up
from hilum.errors import InputError, check_number
from hilum.ops.arguments import Gray, change_ct, volume_of
from hilum.ops.finite import check_finite
from hilum.volume import Volume

WindowFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True)
class Window:
    """A range of Hounsfield units for display.

    Parameters
    ----------
    center : float
        The value displayed as middle gray.
    width : float
        The range of values from black to white.
    """

    center: float
    width: float


@dataclass(frozen=True)
class UnitRange:
    """How `normalize` scaled a volume: ``(hu - lower) / (upper - lower) - mean``."""

    lower: float
    upper: float
    mean: float

    @property
    def width(self) -> float:
        """Width of the range, HU."""
        return self.upper - self.lower

    def to_hu(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Convert values back to HU; clipped values become `lower` or `upper`."""
        return ((values + self.mean) * self.width + self.lower).astype(np.float32)


WINDOW_PRESETS: Mapping[str, Window] = MappingProxyType({
    "lung": Window(-600.0, 1500.0),
    "mediastinum": Window(40.0, 400.0),
    "soft-tissue": Window(50.0, 350.0),
    "bone": Window(400.0, 1800.0),
})  # fmt: skip
"""Customary windows for a chest CT, (center, width) in HU. Radiopaedia lists lung, soft tissue and bone under
"Windowing (CT)"; many scanners write mediastinum into their headers. These are habits of readers, not a standard."""


def normalize(volume: Gray, *, lower: float = -1000.0, upper: float = 400.0, mean: float = 0.0) -> Gray:
    """Map a range of Hounsfield units to [0, 1], clip at both ends, and subtract a mean.

    Parameters
    ----------
    volume : Volume or Scan, shape (z, y, x), HU
        Hounsfield units; or a scan, whose CT is meant.
    lower, upper : float, HU
        The values that become 0 and 1; by default the range of the 2017 tutorials, which clips bone.
    mean : float, default 0.0
        Subtracted in the same pass, as `zero_center` does.

    Returns
    -------
    Volume of float32, or Scan
        ``clip((hu - lower) / (upper - lower), 0, 1) - mean``; a scan gets it as its ``ct`` and keeps the rest.

    Raises
    ------
    InputError
        If `lower` is not below `upper`, `mean` is not finite, or a float volume contains NaN or infinity.
    InputTypeError
        If the argument is neither a volume nor a scan.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> grid = hilum.Geometry((1, 1, 4), (1.0, 1.0, 1.0))
    >>> hu = hilum.Volume(np.array([[[-2000, -1000, -300, 3000]]], np.int16), grid)
    >>> hilum.normalize(hu).array
    array([[[0. , 0. , 0.5, 1. ]]], dtype=float32)
    """
    check_number("lower", lower)
    check_number("upper", upper)
    if not (np.isfinite([lower, upper]).all() and lower < upper):
        raise InputError(f"the range from {lower} to {upper} HU is empty, expected lower < upper", code="option")
    _check_mean(mean)

    def scale(values: NDArray[Any]) -> NDArray[np.float32]:
        unit = np.clip((values.astype(np.float64) - lower) / (upper - lower), 0.0, 1.0)
        return unit.astype(np.float32) - np.float32(mean)

    return change_ct(volume, lambda ct: _mapped(ct, scale, np.float32))


def zero_center(volume: Gray, mean: float = 0.25) -> Gray:
    """Subtract the mean of a data set's normalized voxels.

    Parameters
    ----------
    volume : Volume or Scan, shape (z, y, x)
        Values from `normalize`.
    mean : float, default 0.25
        The mean of the data set, not of this scan; 0.25 is the mean of LUNA16 with the default range.
        `hilum.ops.statistics.HuHistogram` computes it for other data.

    Returns
    -------
    Volume of float32, or Scan
        ``values - mean``; a scan gets it as its ``ct`` and keeps the rest.

    Raises
    ------
    InputError
        If `mean` is not finite, or the volume contains NaN or infinity.
    InputTypeError
        If the argument is neither a volume nor a scan.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> hu = hilum.Volume(np.array([[[-1000, -650, 400]]], np.int16), hilum.Geometry((1, 1, 3), (1.0, 1.0, 1.0)))
    >>> hilum.zero_center(hilum.normalize(hu), 0.25).array
    array([[[-0.25,  0.  ,  0.75]]], dtype=float32)
    """
    _check_mean(mean)

    def subtract(one: Volume) -> Volume:
        check_finite(one.array)
        return Volume(np.subtract(one.array, np.float32(mean), dtype=np.float32), one.geometry)

    return change_ct(volume, subtract)


def window(
    volume: Gray,
    preset: str = "",
    *,
    center: float | None = None,
    width: float | None = None,
    function: WindowFunction = "LINEAR",
) -> Gray:
    """Convert HU to gray values for a screen, 0 to 255, by a DICOM window.

    The conversion cannot be undone: a gray value stands for a range of Hounsfield units, and 0 and 255 for an open
    range. Keep the volume in HU.

    Parameters
    ----------
    volume : Volume or Scan, shape (z, y, x), HU
        Hounsfield units; of a scan, its CT is taken.
    preset : str
        A key of `WINDOW_PRESETS`, instead of center and width.
    center, width : float, HU
        The window, as in Window Center (0028,1050) and Window Width (0028,1051).
    function : {"LINEAR", "LINEAR_EXACT", "SIGMOID"}, default "LINEAR"
        VOI LUT Function (0028,1056). ``LINEAR`` spans from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2.

    Returns
    -------
    Volume of uint8, or Scan
        The real number of the standard's formula, rounded to the nearest integer, halves up. A scan gets it as its
        ``ct`` and keeps the rest.

    Raises
    ------
    InputError
        If there is no such preset or function, if neither or both of preset and window are given, if the width is too
        small (below 1 for ``LINEAR``, not positive otherwise), or if a float volume contains NaN or infinity.
    InputTypeError
        If the argument is neither a volume nor a scan.

    Notes
    -----
    DICOM PS3.3, C.11.2.1.2 (Window Center and Window Width) and C.11.2.1.3 (VOI LUT Function); output 0 to 255.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> grid = hilum.Geometry((1, 1, 4), (1.0, 1.0, 1.0))
    >>> hu = hilum.Volume(np.array([[[-1400, -600, 100, 300]]], np.int16), grid)
    >>> hilum.window(hu, "lung").array
    array([[[  0, 128, 247, 255]]], dtype=uint8)
    """
    c, w = _center_and_width(center, width, preset)
    low, high = c - 0.5 - (w - 1) / 2, c - 0.5 + (w - 1) / 2
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise InputError(f"window function {function!r} is not LINEAR, LINEAR_EXACT or SIGMOID", code="option")
    if not (np.isfinite([c, w]).all() and (w >= 1 if function == "LINEAR" else w > 0)):
        least = "at least 1" if function == "LINEAR" else "above 0"
        raise InputError(f"window center {c} and width {w}: {function} needs a width {least}", code="option")

    def linear(x: NDArray[np.float64]) -> NDArray[np.float64]:
        middle = ((x - (c - 0.5)) / (w - 1) + 0.5) * 255 if w > 1 else np.zeros_like(x)
        return np.where(x <= low, 0.0, np.where(x > high, 255.0, middle))

    def exact(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(x <= c - w / 2, 0.0, np.where(x > c + w / 2, 255.0, ((x - c) / w + 0.5) * 255))

    def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
        # Beyond +-700 the result is 0 or 255 to the last bit, and exp would overflow.
        return 255 / (1 + np.exp(np.clip(-4 * (x - c) / w, -700, 700)))

    curve = {"LINEAR": linear, "LINEAR_EXACT": exact, "SIGMOID": sigmoid}[function]
    return change_ct(volume, lambda ct: _mapped(ct, lambda x: np.floor(curve(x.astype(np.float64)) + 0.5), np.uint8))


def apply_voi_lut(volume: Gray, *, table: Sequence[int] | NDArray[Any], first: int, bits: int = 8) -> Gray:
    """Convert HU to gray values for a screen, by an item of a DICOM VOI LUT Sequence.

    The conversion cannot be undone: a table may map several values to one, and clips values beyond its ends. Keep the
    volume in HU.

    Parameters
    ----------
    volume : Volume of int, or Scan, shape (z, y, x), HU
        Hounsfield units; of a scan, its CT is taken.
    table : sequence of int
        LUT Data (0028,3006).
    first : int, HU
        The value that the first entry maps: the second number of the LUT Descriptor (0028,3002). Smaller values get
        the first entry, values beyond the table the last one.
    bits : int, default 8
        Bits of an entry: the third number of the LUT Descriptor, 8 or 10 to 16.

    Returns
    -------
    Volume of uint8 or uint16, or Scan
        uint8 for 8 bits. A scan gets it as its ``ct`` and keeps the rest.

    Raises
    ------
    InputError
        If the voxels are not integers, the table is empty or too long, or an entry does not fit the bits.
    InputTypeError
        If the argument is neither a volume nor a scan.

    Notes
    -----
    DICOM PS3.3, C.11.2.1.1 (VOI LUT Sequence).

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> grid = hilum.Geometry((1, 1, 4), (1.0, 1.0, 1.0))
    >>> hu = hilum.Volume(np.array([[[-2000, -1000, -999, 3000]]], np.int16), grid)
    >>> hilum.apply_voi_lut(hu, table=[0, 100, 255], first=-1000).array
    array([[[  0,   0, 100, 255]]], dtype=uint8)
    """
    entries = np.asarray(table)
    check_number("first", first)
    check_number("bits", bits)
    if (dtype := volume_of(volume).array.dtype).kind not in "iu":
        raise InputError(f"a VOI LUT maps integers, not {dtype}", do="apply it to HU", code="option")
    if bits not in {8, *range(10, 17)}:
        raise InputError(f"a VOI LUT of {bits} bits, expected 8 or 10 to 16", code="option")
    if entries.ndim != 1 or not 1 <= entries.size <= 65536 or entries.dtype.kind not in "iu":
        what = f"a VOI LUT has 1 to 65536 integer entries, not {entries.shape} {entries.dtype}"
        raise InputError(what, code="option")
    if entries.min() < 0 or int(entries.max()) >> bits:
        raise InputError(f"VOI LUT entries {entries.min()} to {entries.max()} do not fit {bits} bits", code="option")
    entries = entries.astype(np.uint8 if bits == 8 else np.uint16)

    def look_up_planes(ct: Volume) -> Volume:
        out = np.empty(ct.shape, entries.dtype)
        for source, target in zip(ct.array, out, strict=True):
            np.take(entries, np.subtract(source, int(first), dtype=np.int64), out=target, mode="clip")
        return Volume(out, ct.geometry)

    return change_ct(volume, look_up_planes)


def _check_mean(mean: float) -> None:
    check_number("mean", mean)
    if not np.isfinite(mean):
        raise InputError(f"mean is {mean}, expected a finite number", code="option")


def _center_and_width(center: float | None, width: float | None, preset: str) -> tuple[float, float]:
    if preset and center is None and width is None:
        if not isinstance(preset, str) or preset not in WINDOW_PRESETS:
            what = f"window preset {preset!r} is not one of {', '.join(WINDOW_PRESETS)}"
            raise InputError(what, do="or give center= and width=", code="option")
        return WINDOW_PRESETS[preset].center, WINDOW_PRESETS[preset].width
    if preset or center is None or width is None:
        raise InputError("a window is either a preset or both center and width", code="option")
    check_number("center", center)
    check_number("width", width)
    return float(center), float(width)


def _mapped(volume: Volume, curve: Callable[[NDArray[Any]], NDArray[Any]], dtype: type[np.generic]) -> Volume:
    """Apply a curve to every voxel; for small integers by a table of its values, which is exact and faster."""
    array = volume.array
    check_finite(array)
    if array.dtype.kind not in "iu" or array.dtype.itemsize > 2:
        return Volume(np.stack([curve(part).astype(dtype) for part in array]), volume.geometry)
    low, high = int(array.min()), int(array.max())
    table = curve(np.arange(low, high + 1)).astype(dtype)

    return Volume(look_up(array, table, low, workers=0), volume.geometry)
