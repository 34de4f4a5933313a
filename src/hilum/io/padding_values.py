"""The values that mark voxels outside the scanned field: one rule for DICOM frames and volume files.

`hilum.io.dicom.padding` adds what a DICOM header declares; `hilum.io.volumes.hu` applies the rest to volume files.
"""

from typing import Any

from numpy.typing import NDArray

AIR = -1024  # what padding becomes, HU

LOW = -1500  # neither tissue nor noise is lower, HU

LOWEST, HIGHEST = -32768, 32767

UNDECLARED_WORDS = (-2000, -3024, -32768, 63536)
UNDECLARED_HU = (-2000, -3024)


def is_impossible(hu: float) -> bool:
    """Whether neither tissue nor air can have a value, HU."""
    return hu < AIR or hu > HIGHEST


def undeclared_words(slope: float, intercept: float) -> tuple[float, ...]:
    """The stored values that are padding though no header declares it: neither tissue nor air can have them.

    Parameters
    ----------
    slope, intercept : float
        From stored values to HU; the slope is not 0.
    """
    words = {*UNDECLARED_WORDS, *((hu - intercept) / slope for hu in UNDECLARED_HU)}
    return tuple(word for word in sorted(words) if is_impossible(slope * word + intercept))


def corners(values: NDArray[Any]) -> NDArray[Any]:
    """The four corners of a plane, or of each plane of a stack."""
    return values[..., [0, 0, -1, -1], [0, -1, 0, -1]]
