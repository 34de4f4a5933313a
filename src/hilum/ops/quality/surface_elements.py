"""The surface of a mask as elements with an area, as DeepMind's surface-distance divides it.

Each corner that eight voxels share is the place of one element. Which of the eight belong to the mask, a number from 0
to 255, decides its triangles, those of marching cubes. An element has the area of its triangles, so that on thick
slices the caps and sides of a mask count by what they measure, not by their number of voxels.

Source: S. Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", JMIR 23(7),
2021, and its code, github.com/google-deepmind/surface-distance (Apache 2.0), whose triangles these are.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.mask import Spacing

_TRIANGLES = (
    "", "111", "004 004", "022 022", "040 040", "111 111", "202 202", "220 220", "400 400", "004 111 222",
    "022 022 111", "040 111 222", "111 111 111", "111 202 202", "111 220 220", "111 222 400", "004 111 111 222",
    "022 022 022 022", "022 111 202 333", "022 111 220 333", "040 111 111 222", "111 111 111 111", "111 111 222 222",
    "111 111 222 400", "111 202 220 333", "202 202 202 202", "220 220 220 220",
)  # fmt: skip
"""Sets of triangles: of each the amounts of its normal along z, y, x, as long as its area, in eighths of a voxel."""

_SET_OF_CODE = (
    "abbhbgfpbfgphppibdflfjmwfknsotxpbfdlfnksfmjwoxtphlleoyulouylAoohbffodjktfmnxlwspgjnyjcqjnqznyjngfmkukqrkmvqmumkfpwsl"
    "tjkdxmnfoffb"
)
"""The set of each code from 0 to 127, by its letter; codes 255 to 128 have the same ones."""

_LETTERS = "abcdefghijklmnopqrstuvwxyzA"


def surface_codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Number each corner of voxels by which of the eight around it are in the mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        Beyond the array there is no mask.

    Returns
    -------
    ndarray of uint8, shape (z + 1, y + 1, x + 1)
        0 where no surface passes, also inside the mask.
    """
    padded = np.pad(mask, 1).view(np.uint8)
    codes = np.zeros([n + 1 for n in mask.shape], np.uint8)
    for bit, corner in enumerate(product((1, 0), repeat=3)):
        codes |= padded[tuple(slice(c, c + n) for c, n in zip(corner, codes.shape, strict=True))] << np.uint8(bit)
    codes[codes == 255] = 0
    return codes


def element_areas(spacing: Spacing) -> NDArray[np.float64]:
    """Compute the area of the surface at each code.

    Parameters
    ----------
    spacing : tuple of float, (z, y, x), mm
        Of the voxels.

    Returns
    -------
    ndarray of float64, shape (256,)
        mm squared.
    """
    z, y, x = spacing
    faces = np.array([y * x, z * x, z * y]) / 8
    areas = [
        sum(float(np.linalg.norm(faces * [int(part) for part in normal])) for normal in triangles.split())
        for triangles in _TRIANGLES
    ]
    half = [areas[_LETTERS.index(letter)] for letter in _SET_OF_CODE]
    return np.array(half + half[::-1])
