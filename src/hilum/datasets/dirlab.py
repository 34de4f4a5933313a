"""DIR-Lab's 4DCT and COPDgene volumes: blocks of numbers without a header, whose geometry this table states.

Sizes and spacings are those that https://www.dir-lab.com publishes (R. Castillo et al., Phys Med Biol 54 (2009) and 58
(2013)). Voxels are int16, little endian, x fastest, then y, then z; their value is HU + 1024.

The files state neither directions nor an origin. Here x runs to the left and y to the back, as in axial slices of
DICOM, and z from head to feet: conversions that others published use a TransformMatrix of 1 0 0 0 1 0 0 0 -1. The
origin, 0 0 0 for the first voxel of every volume of a case, is arbitrary.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hilum.datasets.listing import Listing, entries, known_of
from hilum.errors import FormatError, HilumError, MissingInputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io import files, scan_files
from hilum.io.annotations.table_rows import give_marks
from hilum.io.read_options import DEFAULT, ReadOptions
from hilum.io.volumes.volume_file import VolumeFile, VolumeHeader
from hilum.scan import Note, Scan
from hilum.scan_ref import ScanRef


class _Grid(NamedTuple):
    shape: tuple[int, int, int]  # z, y, x
    in_plane_mm: float  # along y and x; slices are 2.5 mm apart


GRIDS: dict[str, _Grid] = {
    "case1": _Grid((94, 256, 256), 0.97), "case2": _Grid((112, 256, 256), 1.16), "case3": _Grid((104, 256, 256), 1.15),
    "case4": _Grid((99, 256, 256), 1.13), "case5": _Grid((106, 256, 256), 1.10), "case6": _Grid((128, 512, 512), 0.97),
    "case7": _Grid((136, 512, 512), 0.97), "case8": _Grid((128, 512, 512), 0.97), "case9": _Grid((128, 512, 512), 0.97),
    "case10": _Grid((120, 512, 512), 0.97),
    "copd1": _Grid((121, 512, 512), 0.625), "copd2": _Grid((102, 512, 512), 0.645),
    "copd3": _Grid((126, 512, 512), 0.652), "copd4": _Grid((126, 512, 512), 0.590),
    "copd5": _Grid((131, 512, 512), 0.647), "copd6": _Grid((119, 512, 512), 0.633),
    "copd7": _Grid((112, 512, 512), 0.625), "copd8": _Grid((115, 512, 512), 0.586),
    "copd9": _Grid((116, 512, 512), 0.664), "copd10": _Grid((135, 512, 512), 0.742),
}  # fmt: skip
"""The published size and spacing of each case."""

_SLICE_MM, _HU_OFFSET, _DIRECTION = 2.5, -1024.0, ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
_IMAGE = re.compile(r"(?i)(?:(case\d{1,2})_(T\d\d)(?:[_-]s(?:sm)?)?|(copd\d{1,2})_([ie]BH)CT)\.img")
_FOLDER = re.compile(r"(?i)(?:case\d{1,2}(?:pack|deploy)?|copd\w*|4dct\w*|images|dir.?lab\w*)")
_LEVELS = 4


def recognize(root: Path) -> bool:
    """Whether a folder holds images with the names of DIR-Lab's, as ``Case1Pack/Images/case1_T00_s.img``."""
    return next(_images(root), None) is not None


def index(root: Path, annotations: Path | None = None) -> Listing:  # noqa: ARG001 - there are no tables
    """List the volumes without opening them, as `hilum.datasets.Dataset.index`.

    Parameters
    ----------
    root : Path
        A folder with ``Case1Pack`` or ``copd1``, or one of them.
    annotations : Path, optional
        Not used.

    Returns
    -------
    Listing
        Each volume as ``case1_T00``, or ``copd1_iBH``. A case that is not in `GRIDS` is refused.
    """
    found: dict[str, Path] = {}
    refs: list[ScanRef] = []
    refused: list[HilumError] = []
    for path in _images(root) if files.path_exists(root) else ():
        case, name = _names(path)
        if case not in GRIDS:
            what = "is no case of DIR-Lab: its size is not known"
            do = "write a .mhd header that states it (docs/dirlab.md)"
            refused.append(UnsupportedError(what, where=path, do=do, code="unknown-case"))
        elif (twin := found.setdefault(name, path)) is not path:
            what = f"{name} is there already, as {twin.name}"
            refused.append(FormatError(what, where=path, do="keep one of both", code="series-twice"))
        else:
            refs.append(ScanRef("dirlab", name, path, case=case))
    if not refs and not refused:
        do = "give the folder that holds Case1Pack or copd1"
        raise MissingInputError("has no image of DIR-Lab", where=root, do=do)
    return Listing(refs, refused=refused)


def load(ref: ScanRef, *, options: ReadOptions = DEFAULT) -> Scan:
    """Load a volume, as `hilum.datasets.Dataset.load`.

    Raises
    ------
    FormatError
        If the file has another size than the case.
    """
    known = known_of(ref)
    grid = GRIDS[ref.case]
    wanted = 2 * int(np.prod(grid.shape))
    with files.open_file(ref.path) as file:
        data = bytearray(file.read(wanted + 1))
    if len(data) != wanted:
        has = f"more than {wanted}" if len(data) > wanted else str(len(data))
        what = f"has {has} bytes, {ref.case} has {' x '.join(map(str, grid.shape))} voxels in {wanted}"
        raise FormatError(what, where=ref.path, do="download it again", code="size")
    geometry = Geometry(grid.shape, (_SLICE_MM, grid.in_plane_mm, grid.in_plane_mm), (0.0, 0.0, 0.0), _DIRECTION)
    slope, intercept = options.rescaled(1.0, _HU_OFFSET)
    what = f"{_SLICE_MM:g} x {grid.in_plane_mm:g} x {grid.in_plane_mm:g} mm and HU + 1024 as published for {ref.case}"
    notes = [Note("stated-geometry", f"{what}; slices from head to feet, origin arbitrary")]
    if stated := options.rescale_note:
        notes.append(Note("stated-rescale", stated))
    header = VolumeHeader(geometry=geometry, slope=slope, intercept=intercept, notes=tuple(notes))
    array = np.frombuffer(data, "<i2").reshape(grid.shape).astype(np.int16, copy=False)
    scan = replace(VolumeFile(header, array).to_scan(ref.path), series_uid=ref.scan_id)
    return give_marks(scan_files.check_is_ct(scan, ref.path), known)


def _images(root: Path, level: int = 0) -> Iterator[Path]:
    """The images of a folder and of those in it that have names of DIR-Lab's folders."""
    inside = entries(root)
    yield from sorted((path for path in inside if _IMAGE.fullmatch(path.name)), key=_names)
    if level < _LEVELS:
        for path in inside:
            if _FOLDER.fullmatch(path.name) and path.is_dir():
                yield from _images(path, level + 1)


def _names(path: Path) -> tuple[str, str]:
    """The case of an image, and its own name."""
    match = _IMAGE.fullmatch(path.name)
    case, phase, copd, breath = match.groups() if match else ("", "", "", "")
    return (case.lower(), f"{case.lower()}_{phase.upper()}") if case else (copd.lower(), f"{copd.lower()}_{breath}")
