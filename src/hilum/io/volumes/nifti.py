"""NIfTI-1 and NIfTI-2, the only place that knows RAS; NIfTI-1 is written.

A NIfTI affine leads to RAS millimetres (x grows to the right, y to the front); hilum's world is LPS, so the first
two rows change their sign on the way in and on the way out. The first NIfTI index is the fastest in the file, hence
the bytes of an array (z, y, x) are those of the file. The header is read with nibabel, and written by hand: nibabel
loads pydicom, more than half a second, and 348 bytes do not need it (its reading of them is held against ours in
the tests).

Source: R. W. Cox et al., "A (sort of) new image data format standard: NIfTI-1", 2004; nifti1.h, nifti2.h.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hilum.errors import FormatError, GeometryError, UnsupportedError
from hilum.io.atomic import atomic_path
from hilum.io.files import open_file
from hilum.io.uids import is_uid
from hilum.io.volumes.blocks import GZIP_MAGIC, Block, check_size, write_gzip
from hilum.io.volumes.header_geometry import geometry_from_steps
from hilum.io.volumes.nifti_header import DATATYPES, pack_header
from hilum.io.volumes.open_volumes import OpenArray
from hilum.io.volumes.volume_file import to_scan
from hilum.scan import Note
from hilum.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

    from hilum.geometry import Geometry
    from hilum.scan import Scan

_UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Millimetres in a unit of length: unknown, metre, millimetre, micrometre."""

_SERIES = "series "
"""What stands before a Series Instance UID in the header's 80 bytes of description."""

_OFFSET_LIMIT = 2**24


class _Stored(NamedTuple):
    array: NDArray[Any]
    geometry: Geometry
    slope: float
    intercept: float
    notes: tuple[Note, ...]
    series_uid: str


def read_nifti(path: Path) -> Scan:
    """Read a CT from a .nii or .nii.gz file.

    Parameters
    ----------
    path : Path
        Of Hounsfield units; of one volume.

    Returns
    -------
    Scan
        int16 HU in the order in which the file stores them, axes reversed to (z, y, x); named by the series UID
        that `write_nifti` left in the header, or after the file.

    Raises
    ------
    FormatError, UnsupportedError, GeometryError, InputError
        If the file is damaged or truncated, holds no single volume of real numbers, or does not say how it lies.
    """
    stored = _load(path)
    return to_scan(
        stored.array,
        stored.geometry,
        where=path,
        slope=stored.slope,
        intercept=stored.intercept,
        notes=stored.notes,
        series_uid=stored.series_uid,
    )


def read_nifti_volume(path: Path) -> Volume:
    """Read a .nii or .nii.gz file of anything, a mask for example, with the numbers that it holds.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Volume
        Of the file's own type; of float64 where the file scales its numbers.

    Raises
    ------
    FormatError, UnsupportedError, GeometryError, InputError
        As `read_nifti`.
    """
    stored = _load(path)
    plain = (stored.slope, stored.intercept) == (1.0, 0.0)
    return Volume(stored.array if plain else stored.array * stored.slope + stored.intercept, stored.geometry)


def open_nifti(path: Path) -> OpenArray:
    """Read a .nii or .nii.gz file of a finished scan, to take boxes of it: packed as one, it is unpacked whole.

    Parameters
    ----------
    path : Path

    Returns
    -------
    OpenArray

    Raises
    ------
    InputError
        As `read_nifti_volume`.
    """
    volume = read_nifti_volume(path)
    return OpenArray(volume.array, volume.geometry, resident=True)


def write_nifti(volume: Volume, path: Path, *, series_uid: str = "") -> None:
    """Write a volume or mask as .nii or .nii.gz; the same volume gives the same bytes.

    The affine is stored in single precision, as NIfTI-1 has it.

    Parameters
    ----------
    volume : Volume
        Of integers or floats.
    path : Path
        Ends in .nii or .nii.gz. Appears only when complete.
    series_uid : str
        Kept in the header's ``descrip``, where it is a UID.

    Raises
    ------
    UnsupportedError
        If the name, the type of the voxels or a size over 32767 does not fit the format.
    OutputError
        If the file cannot be written.
    """
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise UnsupportedError("a NIfTI file ends in .nii or .nii.gz", where=path)
    array = volume.array.view(np.uint8) if volume.array.dtype == np.bool_ else volume.array
    kind = array.dtype.str[1:]
    if kind not in DATATYPES or max(volume.shape) > 32767:
        raise UnsupportedError(f"NIfTI-1 holds no {array.dtype} of shape {volume.shape}", where=path)
    voxels = memoryview(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data)
    head = pack_header(volume.geometry, kind, _SERIES + series_uid if is_uid(series_uid) else "") + bytes(
        4
    )  # four zeros: no extensions follow
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        if name.endswith(".nii"):
            out.write(head)
            out.write(voxels)
        else:
            write_gzip(out, (head, voxels))


@dataclass(frozen=True)
class _Head:
    """What a header says, checked, before a voxel is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    geometry: Geometry
    slope: float
    intercept: float
    notes: tuple[Note, ...]
    series_uid: str


def header_uid(path: Path) -> str:
    """Read the series UID that `write_nifti` left in a header, and no voxel.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        What the header has in its place; it may be no UID.

    Raises
    ------
    HilumError
        If it is no header.
    """
    with open_file(path) as handle:
        return _begin(handle, path)[2].series_uid


def _begin(handle: BinaryIO, path: Path) -> tuple[Block, int, _Head]:
    """The bytes after a header, the header's size, and the header."""
    packed = handle.read(2) == GZIP_MAGIC  # the content decides, names lie
    handle.seek(0)
    block = Block(handle, "gzip" if packed else "raw", where=path)
    first = _take(block, 348)
    size, order = _header_size(first, path)
    return block, size, _read_header(first + _take(block, size - 348), order, path)


def _load(path: Path) -> _Stored:
    with open_file(path) as handle:
        block, size, head = _begin(handle, path)
        nbytes = check_size(math.prod(head.shape), head.dtype, where=path)
        block.expect(head.offset + nbytes)
        _take(block, head.offset - size)
        array = np.empty(head.shape, head.dtype)
        block.fill(array)
        notes = head.notes + block.finish()
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(array.dtype.newbyteorder())
    return _Stored(array, head.geometry, head.slope, head.intercept, notes, head.series_uid)


def _take(block: Block, size: int) -> bytes:
    part = np.empty(size, np.uint8)
    block.fill(part)
    return part.tobytes()


def _header_size(first: bytes, path: Path) -> tuple[int, str]:
    """348 or 540 as the header begins, and the byte order in which it does."""
    for size, magic, single in ((348, first[344:348], b"n+1\0"), (540, first[4:8], b"n+2\0")):
        for order in "<>":
            if struct.unpack(order + "i", first[:4])[0] == size:
                if magic == single:
                    return size, order
                if magic in (b"ni1\0", b"ni2\0"):
                    raise UnsupportedError("is half of a .hdr/.img pair", where=path, do="convert it to one .nii file")
    raise FormatError("is not a NIfTI file: no header of its kind", where=path)


def _read_header(raw: bytes, order: str, path: Path) -> _Head:
    import nibabel as nib  # late: slow to load, and writing does not need it
    from nibabel.spatialimages import HeaderDataError

    # Without nibabel's own check: it repairs in silence, or prints.
    header: Any = (nib.Nifti1Header if len(raw) == 348 else nib.Nifti2Header)(raw, order, check=False)  # type: ignore[no-untyped-call]  # nibabel has few types
    code = int(header["datatype"])
    kind = next((name for name, number in DATATYPES.items() if number == code), "")
    if not kind:
        raise UnsupportedError(f"holds voxels of data type {code}, not one real number each", where=path)
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise FormatError(f"header: {error}", where=path, do="convert it again", code="header") from error
    count = int(header["dim"][0])
    sizes = [int(n) for n in header["dim"][1 : count + 1]] if 1 <= count <= 7 else []
    if not sizes or min(sizes) < 1:
        raise FormatError(f"header: dim is {header['dim'].tolist()}", where=path, do="convert it again", code="header")
    if count < 3 or max(sizes[3:], default=1) > 1:
        raise UnsupportedError(
            f"has {count} dimensions of sizes {sizes}, expected one 3-D volume", where=path, do="split it into volumes"
        )
    offset = float(header["vox_offset"]) or len(raw) + 4.0  # zero where a careless writer left it
    if not (offset.is_integer() and len(raw) + 4 <= offset <= _OFFSET_LIMIT):
        raise FormatError(f"header: vox_offset is {offset}", where=path, do="convert it again", code="header")
    shape = tuple(sizes[2::-1])
    geometry, notes = _geometry(header, shape, path)
    uid = bytes(header["descrip"]).partition(b"\0")[0].decode("ascii", "replace").removeprefix(_SERIES)
    slope = 1.0 if slope is None else slope
    return _Head(shape, np.dtype(order + kind), int(offset), geometry, slope, intercept or 0.0, notes, uid)


def _geometry(header: Any, shape: tuple[int, ...], path: Path) -> tuple[Geometry, tuple[Note, ...]]:
    """The sform's grid, else the qform's: what nifti1.h calls methods 3 and 2; method 1 has no orientation."""
    from nibabel.spatialimages import HeaderDataError  # late, as above

    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # nifti1.h: a qfac of 0 stands for 1
    scale = _UNITS.get(int(header["xyzt_units"]) & 7)
    if scale is None:
        raise FormatError("header: unknown unit of length", where=path, do="convert it again", code="header")
    notes = [] if scale == 1 else [Note("units", f"lengths are stored in units of {scale:g} mm and were converted")]
    grids = []
    for code, form in (("sform_code", header.get_sform), ("qform_code", header.get_qform)):
        if header[code] > 0:
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
                    affine = form() * [[-scale], [-scale], [scale], [1]]  # RAS to LPS, in mm
                grids.append(geometry_from_steps(shape, steps=affine[:3, 2::-1].T, origin=affine[:3, 3], where=path))
            except (GeometryError, HeaderDataError, ValueError) as error:
                if grids:
                    notes.append(Note("qform-unusable", "the qform is no grid; the sform was used"))
                elif isinstance(error, GeometryError):
                    raise
                else:
                    raise GeometryError(f"header: {code[:5]}: {error}", where=path, do="convert it again") from error
    if not grids:
        raise GeometryError(
            "orientation unknown: neither sform nor qform is set", where=path, do="convert it from DICOM again"
        )
    if len(grids) == 2 and not grids[0].isclose(grids[1], tolerance=0.5):
        notes.append(Note("forms-differ", "sform and qform place the voxels differently; the sform was used"))
    return grids[0], tuple(notes)
