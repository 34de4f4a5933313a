"""Check that a volume has Hounsfield units of a chest and the size of a person; name the likely cause if not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Geometry
from hilum.scan import Note
from hilum.volume import Volume

SAMPLE = 400_000
"""Number of voxels sampled: enough to measure a fraction of a thousandth, and counted in milliseconds."""

LEAST = 4096
"""Volumes with fewer voxels are not judged."""

AIR_RANGE_HU = (-1150, -600)
"""Air and aerated lung. Air alone is not required: a tight field of view has none outside the body."""

TISSUE_RANGE_HU = (-150, 150)
"""Fat to muscle and blood."""

SHARE = 1e-3
"""At least this fraction of the voxels must be air, and at least this fraction tissue."""

VOXEL_MM = (0.1, 25.0)
"""Voxel sizes of a person's CT: 0.1 mm in photon counting, 10 to 20 mm in old screening."""

LARGEST_MM = 2500.0
"""The longest scan: no scanner's table moves a person farther."""

_USUAL_MM = (0.3, 2.0, 10.0)
"""Usual voxel sizes: the smallest, the largest within a plane, the largest between planes."""

_SCANNER_MATRIX = 512

_UNITS = (("cm", 10.0), ("m", 1000.0), ("micrometers", 0.001))
_MISSING = {
    1024: "rescale had never been applied", 1000: "rescale had never been applied",
    2048: "the intercept had the wrong sign", 2000: "the intercept had the wrong sign",
    8192: "an intercept of -8192 had never been applied",
}  # fmt: skip
"""What moves air up by so many HU."""
_TWICE = (1024, 1000)
_LABELS = 64
_BYTE = 255
_NEAR_ZERO = 32
"""Normalized scans lie within a few units of 0; a chest in Hounsfield units does not."""
_LOWEST = -(1 << 15)
_VALUES = 1 << 16


def note_implausible_values(volume: Volume) -> tuple[Note, ...]:
    """Note a chest CT whose numbers are probably not Hounsfield units.

    A chest has air and aerated lung from -1000 to -600 HU, and soft tissue near 0. The note names the likely cause if
    a sample of the voxels contains almost no air or almost no soft tissue, or if it contains much more of both after
    an intercept is added or subtracted.

    Parameters
    ----------
    volume : Volume of int16, shape (z, y, x), HU
        The volume.

    Returns
    -------
    tuple of Note
        One note with the code ``not-hu``; none if all is plausible or the volume is too small to judge.

    Examples
    --------
    >>> from hilum.geometry import Geometry
    >>> from hilum.volume import Volume
    >>> noise = np.random.default_rng(0)
    >>> hu = (noise.choice([-1000, 40], (40, 40, 40)) + noise.normal(0, 20, (40, 40, 40))).astype(np.int16)
    >>> note_implausible_values(Volume(hu, Geometry(hu.shape, (1.0, 1.0, 1.0))))
    ()
    >>> print(*note_implausible_values(Volume(hu + np.int16(1024), Geometry(hu.shape, (1.0, 1.0, 1.0)))))
    not-hu: these are probably not Hounsfield units: air lies near 25, as if rescale had never been applied; \
hu_offset=-1024 (--hu-offset=-1024) moves it to -999
    """
    values = _sample(volume.array)
    if volume.array.dtype.newbyteorder("=") != np.int16 or values.size < LEAST:
        return ()
    counts = np.bincount(np.subtract(values, _LOWEST, dtype=np.int64), minlength=_VALUES)
    cause = _cause(counts)
    return (Note("not-hu", f"these are probably not Hounsfield units: {cause}"),) if cause else ()


def note_implausible_size(geometry: Geometry) -> tuple[Note, ...]:
    """Note a grid that does not have the size of a person's CT, or that looks like a default of a scanner's matrix.

    Parameters
    ----------
    geometry : Geometry
        The scan's own grid.

    Returns
    -------
    tuple of Note
        One note with the code ``implausible-size``, which names the axis and the likely cause, or ``default-grid``;
        none for a usual size.

    Examples
    --------
    >>> from hilum.geometry import Geometry
    >>> note_implausible_size(Geometry((240, 512, 512), (1.25, 0.7, 0.7)))
    ()
    >>> print(*note_implausible_size(Geometry((9, 512, 512), (0.00125, 0.0007, 0.0007))))
    implausible-size: 9 voxels of 0.00125 mm along z make 0.01125 mm, not a person's CT: the spacing seems to be in m
    """
    for axis, n, s in zip("zyx", geometry.shape, geometry.spacing, strict=True):
        if (n > 1 and s < VOXEL_MM[0]) or s > VOXEL_MM[1] or n * s > LARGEST_MM:
            text = f"{n} voxels of {s:.4g} mm along {axis} make {n * s:.4g} mm, not a person's CT"
            return (Note("implausible-size", f"{text}: {_likely_unit(geometry)}"),)
    matrix = sorted(geometry.shape)[1]
    if matrix >= _SCANNER_MATRIX and set(geometry.spacing) == {1.0} and not any(geometry.origin):
        text = f"a spacing of 1 mm and an origin of 0 are the defaults of writers, and make a field of {matrix} mm"
        return (Note("default-grid", f"{text} of this matrix: is the spacing right?"),)
    return ()


def why_not_hu(volume: Volume) -> str:
    """Explain why a volume cannot be a CT in Hounsfield units.

    Unlike `note_implausible_values` this is certain: the volume contains no air, and all its voxels, not only a
    sample, are a few small whole numbers as in a label map, 8-bit values as on a screen, or numbers near 0 as after a
    normalization.

    Parameters
    ----------
    volume : Volume of int16, shape (z, y, x), HU
        The volume.

    Returns
    -------
    str
        What the numbers are instead; empty if they could be Hounsfield units, or if the volume is too small to judge.

    Examples
    --------
    >>> from hilum.geometry import Geometry
    >>> from hilum.volume import Volume
    >>> labels = np.random.default_rng(0).integers(0, 3, (20, 20, 20)).astype(np.int16)
    >>> why_not_hu(Volume(labels, Geometry(labels.shape, (1.0, 1.0, 1.0))))
    '3 different values from 0 to 2, as in a label map or mask'
    >>> why_not_hu(Volume(labels - np.int16(1000), Geometry(labels.shape, (1.0, 1.0, 1.0))))
    ''
    """
    array = volume.array
    if array.dtype.newbyteorder("=") != np.int16 or array.size < LEAST:
        return ""
    sample = _sample(array)
    if int(sample.min()) < -_NEAR_ZERO or (int(sample.max()) > _BYTE and np.unique(sample).size > _LABELS):
        return ""
    low, high = int(array.min()), int(array.max())
    if low < -_NEAR_ZERO or (low < 0 and high > _NEAR_ZERO):
        return ""
    if low < 0 or high <= 1:
        text = f"all values lie between {low} and {high}, as in a label map, a mask or a normalized scan"
        return text if (low, high) != (0, 0) else "all values are 0"
    count = _count_values(array)
    if count <= _LABELS:
        return _label_map(count, low, high)
    return _display(low, high) if high <= _BYTE else ""


def _likely_unit(geometry: Geometry) -> str:
    """Name the unit in which the spacing would be usual."""
    low, pixel, high = _USUAL_MM
    first, second, third = sorted(geometry.spacing)
    for unit, factor in _UNITS:
        if low <= first * factor and second * factor <= pixel and third * factor <= high:
            return f"the spacing seems to be in {unit}"
    return "the spacing seems to be wrong"


def _count_values(array: NDArray[Any]) -> int:
    """Count the different values; stop when there are more than a label map has."""
    values: set[int] = set()
    for plane in array:
        values.update(np.unique(plane).tolist())
        if len(values) > _LABELS:
            break
    return len(values)


def _label_map(count: int, low: int, high: int) -> str:
    return f"{count} different values from {low} to {high}, as in a label map or mask"


def _display(low: int, high: int) -> str:
    return f"all values lie between {low} and {high}, as in 8-bit display values"


def _sample(array: NDArray[Any]) -> NDArray[Any]:
    """Rows that are evenly spread over the volume."""
    z, y, x = array.shape
    rows = max(1, SAMPLE // x)
    planes = min(z, max(1, round(np.sqrt(rows * z / y))))
    at_z = np.linspace(0, z - 1, planes).round().astype(int)  # at most z of them, so all are different
    at_y = np.linspace(0, y - 1, min(y, max(1, rows // planes))).round().astype(int)
    return np.concatenate([array[k][at_y].ravel() for k in at_z])


def _cause(counts: NDArray[np.int64]) -> str:
    """Name what the numbers are instead of Hounsfield units; empty if they look like Hounsfield units."""
    values = np.flatnonzero(counts) + _LOWEST
    without_lowest = counts.copy()
    without_lowest[values[0] - _LOWEST] = 0  # the lowest value may be padding, which must not count as air
    raw, shift_raw = max((_fit(without_lowest, -shift), shift) for shift in _MISSING)
    twice, shift_twice = max((_fit(without_lowest, shift), shift) for shift in _TWICE)
    if _fit(counts, 0) >= SHARE and max(raw, twice) < max(20 * _fit(without_lowest, 0), SHARE):
        return ""
    if values.size <= _LABELS and values[0] >= 0:
        return _label_map(values.size, values[0], values[-1])
    if values[0] >= 0 and values[-1] <= _BYTE:
        return _display(values[0], values[-1])
    if raw >= max(twice, SHARE):
        return _moved(_peak(counts, shift_raw), _MISSING[shift_raw], sorted(-shift for shift in _MISSING))
    if twice >= SHARE:
        return _moved(_peak(counts, -shift_twice), "rescale had been applied twice", _TWICE)
    missing = zip(("air near -1000", "soft tissue near 0"), _shares(counts, 0), strict=True)
    return "no " + " and no ".join(name for name, share in missing if share < SHARE)


def _moved(air: int, cause: str, offsets: Sequence[int]) -> str:
    """Name the cause, and the stated offset that brings air next to -1000 HU."""
    offset = min(offsets, key=lambda offset: abs(air + offset + 1000))
    return f"air lies near {air}, as if {cause}; hu_offset={offset} (--hu-offset={offset}) moves it to {air + offset}"


def _fit(counts: NDArray[np.int64], shift: int) -> float:
    """The smaller of the fractions of air and of tissue after a shift."""
    return min(_shares(counts, shift))


def _shares(counts: NDArray[np.int64], shift: int) -> tuple[float, float]:
    total = max(int(counts.sum()), 1)
    air, tissue = (int(counts[_span(span, -shift)].sum()) / total for span in (AIR_RANGE_HU, TISSUE_RANGE_HU))
    return air, tissue


def _span(hu: tuple[int, int], offset: int) -> slice:
    return slice(hu[0] + offset - _LOWEST, hu[1] + offset + 1 - _LOWEST)


def _peak(counts: NDArray[np.int64], offset: int) -> int:
    """The most common value of air, in a smoothed histogram."""
    span = _span((AIR_RANGE_HU[0], -850), offset)
    smooth = np.convolve(counts[span], np.ones(25), mode="same")
    middle = float(np.flatnonzero(smooth == smooth.max()).mean())  # of a plateau
    return round(middle) + AIR_RANGE_HU[0] + offset
