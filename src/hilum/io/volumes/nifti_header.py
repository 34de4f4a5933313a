"""The header of a NIfTI-1 file, as hilum writes it, and its RAS axes."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.geometry import Geometry

_HEADER_1 = struct.Struct("<i10s18sihcb8h3fhhhh8ffffhbbffffii80s24shh6f12f16s4s")
"""nifti1.h, field by field; 348 bytes."""

DATATYPES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}
"""The NIfTI code of each voxel type, by numpy's code without byte order (nifti1.h)."""

_ROWS_AT = 280
"""Offset of srow_x, srow_y and srow_z."""


def flip_xy(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn LPS vectors into RAS, or RAS into LPS.

    Parameters
    ----------
    vectors : ndarray, shape (..., 3), (x, y, z)

    Returns
    -------
    ndarray
        x and y with the opposite sign.
    """
    return vectors * (-1.0, -1.0, 1.0)


def pack_header(geometry: Geometry, kind: str, description: str) -> bytes:
    """Write a grid as a NIfTI-1 header.

    Parameters
    ----------
    geometry : Geometry
    kind : str
        A key of `DATATYPES`.
    description : str
        At most 80 ASCII characters.

    Returns
    -------
    bytes
        348 of them; the voxels begin at 352.
    """
    affine = flip_xy(geometry.affine[:3].T).T
    # Round to the stored precision first (columns x, y, z, origin; no negative zeros) and derive all else from that:
    # then a file that is read and written again has the same bytes.
    affine = (affine[:, [2, 1, 0, 3]] + 0.0).astype(np.float32).astype(np.float64)
    spacing = np.linalg.norm(affine[:, :3], axis=0)
    flip, quaternion = _quaternion(affine[:, :3] / spacing)
    return _HEADER_1.pack(
        348, b"", b"", 0, 0, b"r", 0,
        3, *geometry.shape[::-1], 1, 1, 1, 1,
        0, 0, 0, 0, DATATYPES[kind], 8 * int(kind[1]), 0,
        flip, *spacing, 1, 1, 1, 1,
        352, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, description.encode(), b"",
        1, 1, *quaternion, *affine[:, 3], *affine.ravel(),
        b"", b"n+1",
    )  # fmt: skip


def read_nifti_affine(path: Path) -> NDArray[np.float64]:
    """Read the affine in the header of a file that hilum wrote.

    Returns
    -------
    ndarray, shape (4, 4)
        From (z, y, x, 1) to (x, y, z, 1), LPS mm, as `Geometry.affine`.
    """
    import gzip  # late: only this function needs it

    with path.open("rb") as raw, gzip.open(raw) if path.suffix.lower() == ".gz" else raw as file:
        rows = np.frombuffer(file.read(_HEADER_1.size), "<f4", count=12, offset=_ROWS_AT).reshape(3, 4)
    affine = np.eye(4)
    affine[:3] = flip_xy(rows.astype(np.float64)[:, [2, 1, 0, 3]].T).T + 0.0  # no negative zeros
    return affine


def _quaternion(matrix: NDArray[np.float64]) -> tuple[float, tuple[float, float, float]]:
    """``qfac`` and (b, c, d) of the rotation nearest to three unit columns, with a >= 0 (nifti1.h)."""
    left, _, right = np.linalg.svd(matrix)
    rotation = left @ right
    flip = -1.0 if np.linalg.det(rotation) < 0 else 1.0
    rotation[:, 2] *= flip
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    # The column of 4 q qT with the largest diagonal entry gives q without cancellation (Shepperd 1978).
    columns = (
        (1 + xx + yy + zz, zy - yz, xz - zx, yx - xy),
        (zy - yz, 1 + xx - yy - zz, xy + yx, xz + zx),
        (xz - zx, xy + yx, 1 - xx + yy - zz, yz + zy),
        (yx - xy, xz + zx, yz + zy, 1 - xx - yy + zz),
    )
    best = max(range(4), key=lambda k: columns[k][k])
    a, b, c, d = np.array(columns[best]) / math.hypot(*columns[best])
    sign = -1.0 if a < 0 else 1.0
    return flip, (float(sign * b), float(sign * c), float(sign * d))
