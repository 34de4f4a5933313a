"""Whether a volume's numbers look like Hounsfield units of a chest, its size like a person's, and the likely cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.scan import Note

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.geometry import Geometry
    from hilum.volume import Volume

SAMPLE = 400_000
"""Voxels looked at: enough to tell a share of a thousandth, and counted in milliseconds."""

LEAST = 4096
"""Fewer voxels than this are no chest, and nothing is said of them."""

AIR_HU = (-1150, -600)
"""Air and aerated lung. Air alone is not asked for: a tight field of view shows none outside the body."""

TISSUE_HU = (-150, 150)
"""Fat to muscle and blood."""

SHARE = 1e-3
"""The least share of the voxels that must be air, and that must be tissue."""

VOXEL_MM = (0.1, 25.0)
"""Voxels of a person's CT: finest in photon counting at 0.1 mm, thickest in old screening at 10 to 20 mm."""

LARGEST_MM = 2500.0
"""No scanner's table moves a person farther."""

_USUAL_MM = (0.3, 2.0, 10.0)
"""The least and the largest size of a usual scan's voxels, and in the middle the largest that pixels have."""

_UNITS = (("cm", 10.0), ("m", 1000.0), ("micrometers", 0.001))
_INTERCEPTS = (1024, 1000)
_LABELS = 64
_BYTE = 255
_NEAR_ZERO = 32
"""Normalized scans lie within a few units of 0: a chest in Hounsfield units does not."""
_LOWEST = -(1 << 15)
_WORDS = 1 << 16


def question_values(volume: Volume) -> tuple[Note, ...]:
    """Ask whether the numbers of a chest CT are Hounsfield units.

    A chest holds air and aerated lung near -1000 to -600 HU and soft tissue near 0. Where a sample of the voxels holds
    next to nothing of one of them, or much more of both once an intercept is added or taken away, the likely cause
    is named.

    Parameters
    ----------
    volume : Volume of int16, shape (z, y, x), HU

    Returns
    -------
    tuple of Note
        One of code ``not-hu``, or none where all is plausible or there is too little to judge.

    Examples
    --------
    >>> from hilum.geometry import Geometry
    >>> from hilum.volume import Volume
    >>> noise = np.random.default_rng(0)
    >>> hu = (noise.choice([-1000, 40], (40, 40, 40)) + noise.normal(0, 20, (40, 40, 40))).astype(np.int16)
    >>> question_values(Volume(hu, Geometry(hu.shape, (1.0, 1.0, 1.0))))
    ()
    >>> print(*question_values(Volume(hu + np.int16(1024), Geometry(hu.shape, (1.0, 1.0, 1.0)))))
    not-hu: these are probably not Hounsfield units: air lies near 25, as if rescale had never been applied
    """
    values = _sample(volume.array)
    if volume.array.dtype.newbyteorder("=") != np.int16 or values.size < LEAST:
        return ()
    counts = np.bincount(np.subtract(values, _LOWEST, dtype=np.int64), minlength=_WORDS)
    cause = _cause(counts)
    return (Note("not-hu", f"these are probably not Hounsfield units: {cause}"),) if cause else ()


def question_size(geometry: Geometry) -> tuple[Note, ...]:
    """Ask whether a grid has the size of a CT of a person.

    Parameters
    ----------
    geometry : Geometry
        The scan's own grid.

    Returns
    -------
    tuple of Note
        One of code ``implausible-size``, which names the axis and the likely cause, or none.

    Examples
    --------
    >>> from hilum.geometry import Geometry
    >>> question_size(Geometry((240, 512, 512), (1.25, 0.7, 0.7)))
    ()
    >>> print(*question_size(Geometry((240, 512, 512), (0.00125, 0.0007, 0.0007))))
    implausible-size: 240 voxels of 0.00125 mm along z are 0.3 mm, no CT of a person: the spacing seems to be in m
    """
    for axis, n, s in zip("zyx", geometry.shape, geometry.spacing, strict=True):
        if (n > 1 and s < VOXEL_MM[0]) or s > VOXEL_MM[1] or n * s > LARGEST_MM:
            text = f"{n} voxels of {s:.4g} mm along {axis} are {n * s:.4g} mm, no CT of a person"
            return (Note("implausible-size", f"{text}: {_unit(geometry)}"),)
    return ()


def surely_not_hu(volume: Volume) -> str:
    """Tell a volume that cannot be a CT in Hounsfield units, whatever it shows.

    Unlike `question_values` this is no guess: air is missing, and all voxels, not a sample of them, are a few small
    whole numbers as in a label map, values of one byte as on a screen, or numbers near 0 as after a normalization.

    Parameters
    ----------
    volume : Volume of int16, shape (z, y, x), HU

    Returns
    -------
    str
        What the numbers are instead; empty for anything that could be Hounsfield units, and for too few voxels.

    Examples
    --------
    >>> from hilum.geometry import Geometry
    >>> from hilum.volume import Volume
    >>> labels = np.random.default_rng(0).integers(0, 3, (20, 20, 20)).astype(np.int16)
    >>> surely_not_hu(Volume(labels, Geometry(labels.shape, (1.0, 1.0, 1.0))))
    '3 different values from 0 to 2, as in a label map or mask'
    >>> surely_not_hu(Volume(labels - np.int16(1000), Geometry(labels.shape, (1.0, 1.0, 1.0))))
    ''
    """
    array = volume.array
    if array.dtype.newbyteorder("=") != np.int16 or array.size < LEAST:
        return ""
    quick = _sample(array)
    if int(quick.min()) < -_NEAR_ZERO or _is_wide(quick):
        return ""
    low, high = int(array.min()), int(array.max())
    if low < -_NEAR_ZERO or (low < 0 and high > _NEAR_ZERO):
        return ""
    if low < 0 or high <= 1:
        return _few(low, high) if high > 0 or low < 0 else f"all values are {low}"
    count = _count(array)
    if count <= _LABELS:
        return _label_map(count, low, high)
    return _display(low, high) if high <= _BYTE else ""


def _unit(geometry: Geometry) -> str:
    """What the spacing would be right in."""
    low, pixel, high = _USUAL_MM
    first, second, third = sorted(geometry.spacing)
    for unit, factor in _UNITS:
        if low <= first * factor and second * factor <= pixel and third * factor <= high:
            return f"the spacing seems to be in {unit}"
    return "the spacing seems to be wrong"


def _count(array: NDArray[Any]) -> int:
    """How many different values there are, counted no further than is asked."""
    met: set[int] = set()
    for plane in array:
        met.update(np.unique(plane).tolist())
        if len(met) > _LABELS:
            break
    return len(met)


def _is_wide(values: NDArray[Any]) -> bool:
    """Whether a sample holds more values than labels, and larger ones than a byte."""
    return int(values.max()) > _BYTE and np.unique(values).size > _LABELS


def _label_map(count: int, low: int, high: int) -> str:
    return f"{count} different values from {low} to {high}, as in a label map or mask"


def _display(low: int, high: int) -> str:
    return f"all values lie between {low} and {high}, as in 8-bit display values"


def _few(low: int, high: int) -> str:
    return f"all values lie between {low} and {high}, as in a label map, a mask or a normalized scan"


def _sample(array: NDArray[Any]) -> NDArray[Any]:
    """Whole rows, evenly spread over the volume."""
    z, y, x = array.shape
    rows = max(1, SAMPLE // x)
    planes = min(z, max(1, round(np.sqrt(rows * z / y))))
    at_z = np.linspace(0, z - 1, planes).round().astype(int)  # no more of them than there are, so none comes twice
    at_y = np.linspace(0, y - 1, min(y, max(1, rows // planes))).round().astype(int)
    return np.concatenate([array[k][at_y].ravel() for k in at_z])


def _cause(counts: NDArray[np.int64]) -> str:
    """What the numbers are instead of Hounsfield units; empty where they look like them."""
    met = np.flatnonzero(counts) + _LOWEST
    bare = counts.copy()
    bare[met[0] - _LOWEST] = 0  # padding, perhaps: it must not pass for air
    raw, shift_raw = max((_fit(bare, -shift), shift) for shift in _INTERCEPTS)
    twice, shift_twice = max((_fit(bare, shift), shift) for shift in _INTERCEPTS)
    if _fit(counts, 0) >= SHARE and max(raw, twice) < max(20 * _fit(bare, 0), SHARE):
        return ""
    if met.size <= _LABELS and met[0] >= 0:
        return _label_map(met.size, met[0], met[-1])
    if met[0] >= 0 and met[-1] <= _BYTE:
        return _display(met[0], met[-1])
    if raw >= max(twice, SHARE):
        return f"air lies near {_peak(counts, shift_raw)}, as if rescale had never been applied"
    if twice >= SHARE:
        return f"air lies near {_peak(counts, -shift_twice)}, as if rescale had been applied twice"
    missing = zip(("air near -1000", "soft tissue near 0"), _shares(counts, 0), strict=True)
    return "no " + " and no ".join(name for name, share in missing if share < SHARE)


def _fit(counts: NDArray[np.int64], shift: int) -> float:
    """How much of a chest the values are after a shift: the smaller share of air and of tissue."""
    return min(_shares(counts, shift))


def _shares(counts: NDArray[np.int64], shift: int) -> tuple[float, float]:
    total = max(int(counts.sum()), 1)
    air, tissue = (int(counts[_span(span, -shift)].sum()) / total for span in (AIR_HU, TISSUE_HU))
    return air, tissue


def _span(hu: tuple[int, int], offset: int) -> slice:
    return slice(hu[0] + offset - _LOWEST, hu[1] + offset + 1 - _LOWEST)


def _peak(counts: NDArray[np.int64], offset: int) -> int:
    """The most common value of where air lies, found in a smoothed histogram."""
    span = _span((AIR_HU[0], -850), offset)
    smooth = np.convolve(counts[span], np.ones(25), mode="same")
    return int(np.argmax(smooth)) + AIR_HU[0] + offset
