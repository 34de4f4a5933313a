"""The numbers of a volume file to int16 Hounsfield units, with padding set to air."""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError, UnsupportedError
from hilum.io.padding_values import AIR, HIGHEST, LOW, LOWEST, UNDECLARED_WORDS, corners, undeclared_words
from hilum.scan import Note

_SLAB_VOXELS = 2**17  # small enough for a processor's cache

_USUAL_INTERCEPT = -1024

_LEAST = 4096  # smaller volumes are not judged

_NEAR_ZERO = 32  # normalized scans lie this near to 0; no CT of a person does


def convert_to_hu(
    array: NDArray[Any], *, slope: float = 1.0, intercept: float = 0.0, where: Path
) -> tuple[NDArray[np.int16], tuple[Note, ...]]:
    """Convert numbers of any type to int16 Hounsfield units.

    ``slope * value + intercept`` is computed in float64 and rounded once, half to even. Padding becomes -1024, by the
    rule of DICOM frames without a declared padding value (`hilum.io.padding_values`); other values below -1024 are
    noise and stay. Values above 32767 become 32767. nan, which some tools write outside the scanned field, becomes
    -1024. Each leaves a note with the number of voxels.

    Parameters
    ----------
    array : ndarray of integers or floats, shape (z, y, x)
        Used in place if it is native int16, unscaled and writable.
    slope, intercept : float
        Finite.
    where : Path
        For messages.

    Returns
    -------
    ndarray of int16, shape (z, y, x), HU
    tuple of Note
        Codes ``"padding-to-air"``, ``"saturated"``, ``"nan-to-air"``, ``"low-hu"``.

    Raises
    ------
    FormatError
        If the numbers are not of a real type, or one is infinite.
    UnsupportedError
        If they are fractions near 0, as in a normalized scan.
    """
    if array.dtype.kind not in "iuf":
        raise FormatError(f"voxels of type {array.dtype} are not Hounsfield units", where=where, code="type")
    scaled = (slope, intercept) != (1.0, 0.0)
    in_place = array.dtype == np.dtype(np.int16) and array.flags.writeable and not scaled  # not equal where swapped
    hu = array if in_place else np.empty(array.shape, np.int16)
    words = _padding_words(array, slope, intercept)
    padded = high = missing = low = broken = 0
    near_zero = True
    step = max(1, _SLAB_VOXELS // max(1, math.prod(array.shape[1:])))
    for start in range(0, array.shape[0], step):
        slab = slice(start, start + step)
        values = array[slab]
        if values.dtype.kind == "f" or scaled:
            values, unknown, fractions = _rescale(values, slope, intercept, where)
            missing, broken = missing + unknown, broken + fractions
        least, most = int(values.min()), int(values.max())
        near_zero = near_zero and least >= -_NEAR_ZERO and most <= _NEAR_ZERO
        if least >= AIR and most <= HIGHEST:
            if not in_place:
                hu[slab] = values
            continue
        padding = _find_padding(values, words, (least, most))
        padded += int(np.count_nonzero(padding))
        if most > HIGHEST:
            high += int(np.count_nonzero((values > HIGHEST) & ~padding))
        if not in_place:
            hu[slab] = values.clip(LOWEST, HIGHEST) if least < LOWEST or most > HIGHEST else values
        np.putmask(hu[slab], padding, AIR)
        if least < LOW:
            low += int(np.count_nonzero(hu[slab] < LOW))
    if near_zero and array.size >= _LEAST and broken > array.size // 1000:  # whole numbers would be another image
        what = f"its values are not Hounsfield units: fractions within {_NEAR_ZERO} of 0, as in a normalized scan or "
        what += "one of attenuation coefficients"
        do = "give the CT that it was made from, or state --rescale SLOPE,INTERCEPT"
        raise UnsupportedError(what, where=where, do=do, code="not-hu")
    counts = (
        (padded, "padding-to-air", f"{padded} voxels of padding outside the scanned field set to {AIR} HU"),
        (high, "saturated", f"{high} voxels above {HIGHEST} HU set to {HIGHEST}"),
        (missing, "nan-to-air", f"{missing} voxels that are not numbers (nan) set to {AIR} HU"),
        (low, "low-hu", f"{low} voxels below {LOW} HU: unknown padding, or damaged voxels"),
    )
    return cast("NDArray[np.int16]", hu), tuple(Note(code, text) for count, code, text in counts if count)


def _rescale(values: NDArray[Any], slope: float, intercept: float, where: Path) -> tuple[NDArray[Any], int, int]:
    """Whole numbers as floats, and how many voxels were nan or fractions; the latter only of values near 0."""
    scaled = (slope, intercept) != (1.0, 0.0)
    # A copy, of float32 where that is enough: it rounds as exactly.
    wide = np.dtype(np.float64) if scaled else np.promote_types(values.dtype, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite results are refused below
        values = values.astype(wide)
        if scaled:
            values *= slope
            values += intercept
    unknown = np.isnan(values)
    if count := int(np.count_nonzero(unknown)):
        values[unknown] = AIR
    if np.isinf(values).any():
        raise FormatError("a voxel is infinite", where=where, do="export the scan again", code="not-finite")
    whole = np.rint(values)
    near_zero = abs(whole.flat[0]) <= _NEAR_ZERO and np.abs(whole).max() <= _NEAR_ZERO
    return whole, count, int(np.count_nonzero(whole != values)) if near_zero else 0


def _padding_words(array: NDArray[Any], slope: float, intercept: float) -> tuple[int, ...]:
    """The values of padding, HU: those that no header declares, as stored here or in a DICOM file, and the corners'.

    The corners of the volume count beside those of each plane, because its planes need not be the scanner's.
    """
    words = {round(slope * word + intercept) for word in undeclared_words(slope, intercept)} if slope else set()
    words |= {word + _USUAL_INTERCEPT for word in UNDECLARED_WORDS}
    eight = set(corners(array[[0, -1]]).ravel().tolist())
    if len(eight) == 1 and math.isfinite(corner := slope * eight.pop() + intercept) and corner < AIR:
        words.add(round(corner))
    return tuple(sorted(words))


def _find_padding(values: NDArray[Any], words: tuple[int, ...], hu_range: tuple[int, int]) -> NDArray[np.bool_]:
    """Find the padding of some planes; whole numbers, HU."""
    least, most = hu_range
    padding = values < LOWEST if least < LOWEST else np.zeros(values.shape, bool)
    for word in words:
        if least <= word <= most:
            padding |= values == word
    four = corners(values)
    for k in np.flatnonzero((four == four[:, :1]).all(axis=1) & (four[:, 0] < AIR)):
        if four[k, 0] not in words:
            padding[k] |= values[k] == four[k, 0]
    return padding
