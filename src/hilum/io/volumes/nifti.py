"""NIfTI-1 and NIfTI-2; hilum writes NIfTI-1.

A NIfTI affine leads to RAS millimetres (x grows to the right, y to the front). hilum's world is LPS, so reading and
writing change the sign of x and y. The first NIfTI index is the fastest in the file, so the bytes of an array (z, y, x)
are those of the file. nibabel parses the header. hilum writes it without nibabel, which loads pydicom, more than
half a second; the tests compare the two.

Source: R. W. Cox et al., "A (sort of) new image data format standard: NIfTI-1", 2004; nifti1.h, nifti2.h.
"""

import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.files import open_file
from hilum.io.volumes import blocks, open_volumes
from hilum.io.volumes.nifti_forms import flip_xy, read_geometry
from hilum.io.volumes.volume_file import BlockHeader, VolumeFile, volume_file
from hilum.volume import Volume

_SERIES = "series "  # text before a Series Instance UID in the header's 80 bytes of description

_HEADER_1 = struct.Struct("<i10s18sihcb8h3fhhhh8ffffhbbffffii80s24shh6f12f16s4s")  # nifti1.h, field by field; 348 bytes

DATATYPES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}
"""The NIfTI code of each voxel type, by numpy's code without byte order (nifti1.h)."""


def read_nifti(path: Path) -> VolumeFile:
    """Read a .nii or .nii.gz file, as `hilum.io.volumes.formats.Format.read`.

    The series UID is the one that `write_nifti` stored.
    """
    with open_file(path) as handle:
        block, size, header = _open_block(handle, path)
        block.expect(header.skip + blocks.check_size(header.geometry.shape, header.dtype, where=path))
        _read_bytes(block, header.skip - size)
        array = np.zeros(header.geometry.shape, header.dtype)
        block.fill(array, zeroed=True)
        return volume_file(header, array, block.finish())


def read_nifti_header(path: Path) -> BlockHeader:
    """Read the header of a .nii or .nii.gz file."""
    with open_file(path) as handle:
        return _open_block(handle, path)[2]


def open_nifti(path: Path) -> open_volumes.OpenArray:
    """Read all voxels of a .nii or .nii.gz file: it is one packed stream, so a box cannot be read alone."""
    volume = read_nifti(path).to_volume()
    return open_volumes.OpenArray(volume.array, volume.geometry, resident=True)


def write_nifti(volume: Volume, path: Path, *, series_uid: str = "") -> None:
    """Write .nii or .nii.gz, as `hilum.io.volumes.formats.Format.write`.

    The affine is stored in single precision, as NIfTI-1 has it, and the series UID in the header's ``descrip``.
    """
    from hilum.io.atomic import atomic_path  # late: reading does not need it

    array = blocks.stored_array(volume.array)
    kind = array.dtype.str[1:]
    if kind not in DATATYPES or max(volume.shape) > 32767:
        raise UnsupportedError(f"NIfTI-1 cannot store {array.dtype} of shape {volume.shape}", where=path)
    voxels = array.reshape(-1).view(np.uint8).data
    head = pack_header(volume.geometry, kind, _SERIES + series_uid if series_uid else "") + bytes(4)  # no extensions
    with atomic_path(path, synced=False) as temporary, temporary.open("wb") as out:
        write = blocks.write_raw if path.suffix.lower() == ".nii" else blocks.write_gzip
        write(out, (head, voxels))


def _open_block(handle: BinaryIO, path: Path) -> tuple[blocks.Block, int, BlockHeader]:
    """The bytes after a header, the header's size, and the header."""
    packed = handle.read(2) == blocks.GZIP_MAGIC  # names can be wrong
    handle.seek(0)
    block = blocks.Block(handle, "gzip" if packed else "raw", where=path)
    first = _read_bytes(block, 348)
    size, order = _header_size(first, path)
    return block, size, _read_header(first + _read_bytes(block, size - 348), order, path)


def _read_bytes(block: blocks.Block, size: int) -> bytes:
    part = np.empty(size, np.uint8)
    block.fill(part)
    return part.tobytes()


def _header_size(first: bytes, path: Path) -> tuple[int, str]:
    """The size of a header, 348 or 540, and its byte order."""
    for size, magic, single in ((348, first[344:348], b"n+1\0"), (540, first[4:8], b"n+2\0")):
        for order in "<>":
            if struct.unpack(order + "i", first[:4])[0] == size:
                if magic == single:
                    return size, order
                if magic in (b"ni1\0", b"ni2\0"):
                    raise UnsupportedError("is half of a .hdr/.img pair", where=path, do="convert it to one .nii file")
    raise FormatError("is not a NIfTI file: it has no NIfTI header", where=path)


def _read_header(raw: bytes, order: str, path: Path) -> BlockHeader:
    import nibabel as nib  # late: slow to load, and writing does not need it
    from nibabel.spatialimages import HeaderDataError

    # Without nibabel's own check, which repairs silently, or prints.
    header: Any = (nib.Nifti1Header if len(raw) == 348 else nib.Nifti2Header)(raw, order, check=False)  # type: ignore[no-untyped-call]  # nibabel has few types
    code = int(header["datatype"])
    kind = next((name for name, number in DATATYPES.items() if number == code), "")
    if not kind:
        raise UnsupportedError(f"holds voxels of data type {code}, not one real number each", where=path)
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise _wrong(str(error), path) from error
    count = int(header["dim"][0])
    sizes = [int(n) for n in header["dim"][1 : count + 1]] if 1 <= count <= 7 else []
    if not sizes or min(sizes) < 1:
        raise _wrong(f"dim is {header['dim'].tolist()}", path)
    if count < 3 or max(sizes[3:], default=1) > 1:
        what = f"has {count} dimensions of sizes {sizes}, expected one 3-D volume"
        raise UnsupportedError(what, where=path, do="split it into volumes")
    offset = float(header["vox_offset"]) or len(raw) + 4.0  # some writers leave it 0
    if not (offset.is_integer() and len(raw) + 4 <= offset <= 2**24):
        raise _wrong(f"vox_offset is {offset}", path)
    geometry, shear, notes = read_geometry(header, tuple(sizes[2::-1]), path)
    uid = bytes(header["descrip"]).partition(b"\0")[0].decode("ascii", "replace").removeprefix(_SERIES)
    return BlockHeader(
        geometry=geometry,
        shear=shear,
        series_uid=uid,
        notes=notes,
        slope=1.0 if slope is None else slope,
        intercept=intercept or 0.0,
        dtype=np.dtype(order + kind),
        skip=int(offset),
    )


def _wrong(what: str, path: Path) -> FormatError:
    return FormatError(f"header: {what}", where=path, do="convert it again", code="header")


def pack_header(geometry: Geometry, kind: str, description: str) -> bytes:
    """Write a grid as a NIfTI-1 header.

    Parameters
    ----------
    geometry : Geometry
        The grid.
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
        rows = np.frombuffer(file.read(_HEADER_1.size), "<f4", count=12, offset=280).reshape(3, 4)  # srow_x, _y, _z
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
