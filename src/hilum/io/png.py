"""Pack small pictures of palette colors as PNG, without a library."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def png_bytes(pixels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """Pack a picture of palette colors.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns)
        Indices into the palette.
    palette : ndarray of uint8, shape (n, 3)
        Red, green and blue of at most 256 colors.

    Returns
    -------
    bytes
        A PNG of color type 3 (PNG specification, third edition, sections 5 and 11), always the same for the same
        input and version of zlib.

    Raises
    ------
    ValueError
        If an index is beyond the palette.
    """
    if pixels.size and int(pixels.max()) >= len(palette):
        raise ValueError(f"index {int(pixels.max())} is beyond the palette's {len(palette)} colors")
    rows, columns = pixels.shape
    lines = np.zeros((rows, columns + 1), np.uint8)  # a line begins with its filter: 0, none
    lines[:, 1:] = pixels
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", np.ascontiguousarray(palette, np.uint8).tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
