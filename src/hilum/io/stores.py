"""The formats in which a run stores its volumes, by name: what each file is called, and how it is opened and read."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hilum.errors import FormatError, UnsupportedError
from hilum.io.values import to_scan
from hilum.volume import Mask

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.io.boxes import Stored
    from hilum.io.placement import Placement
    from hilum.io.records import ScanRecord
    from hilum.scan import Scan
    from hilum.volume import Volume


class Format(NamedTuple):
    """A store: its suffix, the files that a volume has at least, its module, and what of that reads it.

    Of ``files`` the first shows that the volume is there; each is the part's name and one of these. ``read`` gives the
    whole volume, ``place`` its placement alone, ``open`` what boxes are read from.
    """

    suffix: str
    files: tuple[str, ...]
    module: str
    read: str
    place: str
    open: str


STORES: dict[str, Format] = {
    "nifti": Format(".nii.gz", (".nii.gz",), "hilum.io.nifti", "read_nifti_volume", "", "open_nifti"),
    "npy": Format(".npy", (".npy", ".json"), "hilum.io.npy", "read_npy", "read_npy_placement", "open_npy"),
    "zarr": Format(
        ".zarr",
        (".zarr/zarr.json", ".zarr/0/zarr.json", ".zarr/0/c/0/0/0"),
        "hilum.io.ome_zarr",
        "read_zarr",
        "read_zarr_placement",
        "StoredZarr",
    ),
    "b2nd": Format(".b2nd", (".b2nd",), "hilum.io.b2nd", "read_b2nd", "read_b2nd_placement", "StoredB2nd"),
}
"""Every store, by its name in a recipe."""

FORMATS = {name: store.suffix for name, store in STORES.items()}
"""The suffix of volumes and masks, by the format's name in a recipe."""

PARTS = ("ct", "lungs", "nodules")
"""The volumes of a scan."""


EXTRA_PARTS: dict[str, tuple[str, ...]] = {
    "preview": ("preview.png", "preview.json"),
    "candidates": ("candidates.csv",),
    "excluded": ("excluded.csv",),
}
"""What a scan has besides its volumes, and the files of each."""


def format_of(record: ScanRecord, part: str = "ct") -> str:
    """In which format a finished scan has one of its volumes.

    Parameters
    ----------
    record : ScanRecord
        Its ``scan.json``.
    part : str
        One of `PARTS`.

    Returns
    -------
    str
        A key of `STORES`; empty where it has no such volume.
    """
    return next((name for name, store in STORES.items() if part + store.files[0] in record.files), "")


def lacking(record: ScanRecord) -> list[str]:
    """Tell what a finished scan lacks of what its recipe promised.

    Parameters
    ----------
    record : ScanRecord
        Its ``scan.json``; one of an older version says of no part that it was promised, and has a ct all the same.

    Returns
    -------
    list of str
        Those of its ``parts`` of which a file is not in ``files``.
    """

    def is_there(part: str) -> bool:
        if part in EXTRA_PARTS:
            return record.files.keys() >= set(EXTRA_PARTS[part])
        held = format_of(record, part)
        return bool(held) and record.files.keys() >= {part + file for file in STORES[held].files}

    return [part for part in dict.fromkeys(("ct", *record.parts)) if not is_there(part)]


def read_stored(folder: Path, record: ScanRecord, part: str) -> Volume | None:
    """Read one volume of a finished scan, with the type it was stored in.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord
        Its ``scan.json``.
    part : str
        One of `PARTS`.

    Returns
    -------
    Volume or None
        None where the scan has no such volume.

    Raises
    ------
    InputError
        If a file is missing or damaged, or a package is not installed that its format needs.
    """
    name = format_of(record, part)
    if not name:
        return None
    volume: Volume = _function(name, "read")(folder / (part + FORMATS[name]))
    return volume


def open_stored(folder: Path, record: ScanRecord, part: str) -> Stored | None:
    """Open one volume of a finished scan, to read boxes of it.

    Parameters
    ----------
    folder, record, part
        As `read_stored` takes them.

    Returns
    -------
    Stored or None
        None where the scan has no such volume. npy is memory-mapped; of b2nd and zarr the chunks of a box are
        unpacked; nifti is unpacked whole, here.

    Raises
    ------
    InputError
        As `read_stored`; and if the volume has not the shape that ``scan.json`` says.
    """
    name = format_of(record, part)
    if not name:
        return None
    path = folder / (part + FORMATS[name])
    stored: Stored = _function(name, "open")(path)
    if tuple(stored.shape) != record.geometry.shape:
        raise FormatError(f"has shape {tuple(stored.shape)}, not that of scan.json", where=path, code="shape")
    return stored


def read_scan(path: Path) -> Scan:
    """Read a CT from a store, wherever it lies.

    Parameters
    ----------
    path : Path
        With one of the suffixes of `FORMATS`, but for NIfTI, which has a reader of its own.

    Returns
    -------
    Scan
        int16 HU, named by the series UID in it, or after the file.

    Raises
    ------
    InputError
        If it is damaged, not one that hilum wrote, or holds labels; or a package is not installed that it needs.
    """
    volume = _function(_named_by(path), "read")(path)
    if isinstance(volume, Mask):
        raise UnsupportedError("holds labels, no scan", where=path, do="give the ct beside it")
    return to_scan(np.array(volume.array), volume.geometry, where=path, series_uid=read_place(path).series_uid)


def read_place(path: Path) -> Placement:
    """Read where a store puts its voxels.

    Parameters
    ----------
    path : Path
        With one of the suffixes of `FORMATS`, but for NIfTI, whose affine may be none of a grid's.

    Returns
    -------
    Placement

    Raises
    ------
    InputError
        If it is damaged.
    """
    placement: Placement = _function(_named_by(path), "place")(path)
    return placement


def _named_by(path: Path) -> str:
    return next(name for name, store in STORES.items() if store.place and path.name.lower().endswith(store.suffix))


def _function(name: str, task: str) -> Any:
    store = STORES[name]
    return getattr(import_module(store.module), getattr(store, task))
