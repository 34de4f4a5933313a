"""Files in and out: one module a format, each the only place that knows it.

`read` and `write` look a path up in the two tables below; the module of a format is imported when it is needed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilum.errors import (
    AnnotationError,
    FormatError,
    HilumError,
    InputError,
    MissingInputError,
    UnsupportedError,
    one_line,
)
from hilum.io.files import is_there
from hilum.io.optional_packages import check_packages
from hilum.io.uids import is_uid
from hilum.ops.quality.plausibility import note_implausible_size, note_implausible_values, why_not_hu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hilum.scan import Scan
    from hilum.volume import Volume

READERS: dict[str, tuple[str, str]] = {
    ".mhd": ("hilum.io.volumes.metaimage", "read_metaimage"),
    ".mha": ("hilum.io.volumes.metaimage", "read_metaimage"),
    ".nii": ("hilum.io.volumes.nifti", "read_nifti"),
    ".nii.gz": ("hilum.io.volumes.nifti", "read_nifti"),
    ".nrrd": ("hilum.io.volumes.nrrd", "read_nrrd"),
    ".nhdr": ("hilum.io.volumes.nrrd", "read_nrrd"),
}
"""Which function reads a volume file, by its suffix; a folder, and any other file, is read as DICOM."""

HEADER_UIDS: dict[str, tuple[str, str]] = {suffix: (home, "header_uid") for suffix, (home, _) in READERS.items()}
"""Which function reads the series UID that a volume file's header names."""

STORE_READERS: dict[str, tuple[str, str]] = dict.fromkeys(
    (".npy", ".b2nd", ".zarr"), ("hilum.io.volumes.formats", "read_scan")
)
"""Which function reads what a run stores for training; it is read where it is named, and not searched for."""

WRITERS: dict[str, tuple[str, str]] = {
    ".nii": ("hilum.io.volumes.nifti", "write_nifti"),
    ".nii.gz": ("hilum.io.volumes.nifti", "write_nifti"),
    ".nrrd": ("hilum.io.volumes.nrrd", "write_nrrd"),
    ".mha": ("hilum.io.volumes.metaimage", "write_metaimage"),
    ".mhd": ("hilum.io.volumes.metaimage", "write_metaimage"),
    ".npy": ("hilum.io.volumes.npy", "write_npy"),
    ".b2nd": ("hilum.io.volumes.b2nd", "write_b2nd"),
    ".zarr": ("hilum.io.volumes.ome_zarr", "write_zarr"),
}
"""Which function writes a volume, by the suffix of its path."""

_NO_SCAN = {".csv", ".gz", ".jpeg", ".jpg", ".json", ".png", ".raw", ".tar", ".toml", ".txt", ".xml", ".zip", ".zraw"}
"""Suffixes that are surely no scan by themselves: said at once, rather than tried as DICOM."""


def suffix_of(path: Path) -> str:
    """The suffix that decides a file's format, lower case, ``.nii.gz`` as one.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        With its dot; empty where there is none.
    """
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def read(
    path: str | Path,
    *,
    series: str = "",
    annotations: str | Path | None = None,
    series_uid: str = "",
    max_gap_mm: float | None = None,
    slice_spacing_mm: float | None = None,
) -> Scan:
    """Read one CT scan, whatever its format, into Hounsfield units with its geometry.

    Parameters
    ----------
    path : str or Path
        A folder that holds a DICOM series (searched with its subfolders), one DICOM file, or a ``.mhd``,
        ``.mha``, ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.nhdr`` file; or a ``.npy``, ``.b2nd`` or ``.zarr`` that
        hilum wrote.
    series : str
        The Series Instance UID wanted, where a folder holds several; without it the largest chest-like CT
        series is taken and the choice noted.
    annotations : str or Path, optional
        A LUNA16 ``annotations.csv``, whose rows of this very series become the scan's nodules, or a reading of
        LIDC-IDRI in ``.xml``, whose outlines do. Where no row is of the series, rows that name it after its file or
        folder are taken; without any the scan stays without annotations. Both are noted.
    series_uid : str
        What to call the scan where its file does not know its Series Instance UID, or the table calls it otherwise.
    max_gap_mm : float, optional
        Where slices of a DICOM series are missing or damaged, their neighbors may be this far apart: what is
        between them is interpolated linearly and noted. 0 refuses every gap; without it the limit is that of
        the recipe ``default``.
    slice_spacing_mm : float, optional
        For a DICOM series without positions: the distance from one InstanceNumber to the next, negative where
        they count from head to feet. Order and place are then stated, not read, and a note says so.

    Returns
    -------
    Scan
        ``scan.ct`` is int16 HU on the scan's own grid; ``scan.notes`` says what was odd.

    Raises
    ------
    InputError
        If there is no such path, nothing readable in it, or the scan cannot be trusted: one line with the
        reason and the next step. `MissingInputError`, `FormatError`, `UnsupportedError`, `SeriesError`,
        `GeometryError` and `AnnotationError` are all kinds of it.
    """
    path = Path(path)
    if not is_there(path):
        if os.path.islink(path):  # noqa: PTH114 - no path is too odd to be asked
            raise import_module("hilum.io.unreadable").not_downloaded(path, [path.name])
        raise MissingInputError("there is no such file or folder", where=path, do="check the path")
    suffix = suffix_of(path)
    if not is_volume(path):
        scan = _read_dicom(path, suffix=suffix, series=series, max_gap_mm=max_gap_mm, slice_spacing_mm=slice_spacing_mm)
    elif series:
        raise InputError("a series can be chosen in a DICOM folder only", where=path, do="leave the series out")
    elif slice_spacing_mm is not None:
        what = "a slice spacing can be stated for a DICOM series only"
        raise InputError(what, where=path, do="leave it out: the header decides", code="option")
    else:
        scan = _function({**READERS, **STORE_READERS}[suffix])(path)
    notes = (*scan.notes, *note_implausible_size(scan.ct.geometry), *note_implausible_values(scan.ct))
    scan = replace(scan, series_uid=series_uid or scan.series_uid, notes=notes)
    names = () if series_uid else scan_names(path)
    return annotate(scan, annotations, names=names) if annotations is not None else scan


def check_is_ct(scan: Scan, path: Path) -> Scan:
    """Refuse what was read as a CT and is surely none: a label map, gray values of a screen, a normalized scan.

    `read` itself only notes it, so that a mask can be looked at.

    Parameters
    ----------
    scan : Scan
        As `read` gives it.
    path : Path
        Where it was read from.

    Returns
    -------
    Scan
        The same.

    Raises
    ------
    UnsupportedError
        If its values cannot be Hounsfield units.
    """
    if cause := why_not_hu(scan.ct):
        what = f"these are no Hounsfield units: {cause}"
        raise UnsupportedError(what, where=path, do="give the CT that it was made from", code="not-hu")
    return scan


def scan_names(path: Path) -> tuple[str, ...]:
    """What a table may call the scan in a file or folder, where it does not go by series UIDs.

    Parameters
    ----------
    path : Path

    Returns
    -------
    tuple of str
        The name of the file without its suffix, and that of its folder; or the name of the folder.
    """
    whole = path.absolute()
    suffix = suffix_of(path) if is_volume(path) else ""
    if not suffix:
        return (whole.name,)
    return whole.name[: -len(suffix)], whole.parent.name


def header_uid(path: Path) -> str:
    """Read which series a volume file says it is, without its voxels.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        Its Series Instance UID; empty where the file names none, or cannot be read.
    """
    suffix = suffix_of(path)
    try:
        if suffix in STORE_READERS:
            uid: str = _function(("hilum.io.volumes.formats", "read_placement"))(path).series_uid
        else:
            uid = _function(HEADER_UIDS[suffix])(path)
    except (HilumError, OSError, KeyError):
        return ""
    return uid if is_uid(uid) else ""


def annotate(scan: Scan, annotations: str | Path, *, names: Sequence[str] = ()) -> Scan:
    """Give a scan the nodules that an annotation file lists for it.

    Parameters
    ----------
    scan : Scan
        On its own grid, as `read` gives it.
    annotations : str or Path
        A LUNA16 ``annotations.csv``, or a reading of LIDC-IDRI in ``.xml``.
    names : sequence of str
        What a table may call the scan, where it has no row of its series UID.

    Returns
    -------
    Scan
        With its nodules, in world millimetres, and a note on whatever was odd. A scan of which a table has no row
        stays as it is but for a note: whether anybody looked at it is not known.

    Raises
    ------
    AnnotationError, MissingInputError, UnsupportedError
        If the file is absent, of an unknown kind, or cannot be trusted.
    """
    path = Path(annotations)
    if not path.is_file():
        raise MissingInputError("there is no such annotation file", where=path, do="check the path")
    suffix = suffix_of(path)
    if suffix not in {".csv", ".xml"}:
        what = "annotations are read from a LUNA16 .csv or a LIDC-IDRI .xml"
        raise UnsupportedError(what, where=path, do="give one of them")
    if suffix == ".csv":
        nodules, notes = import_module("hilum.io.annotations.luna").read_annotations(
            path, series_uid=scan.series_uid, names=names
        )
        if nodules is None:
            return replace(scan, notes=(*scan.notes, *notes))
        return replace(scan, nodules=nodules, annotated=True, notes=(*scan.notes, *notes))
    if not is_uid(scan.series_uid) and not scan.slice_uids:
        known = one_line(scan.series_uid, limit=40)
        what = f"a reading belongs to a series UID, and the scan is only known as {known!r}"
        do = "give the DICOM series, or name the file by its UID (hilum nodules: --series-uid)"
        raise AnnotationError(what, where=path, do=do)
    nodules, notes = import_module("hilum.io.annotations.lidc").read_lidc(path, scan=scan)
    return replace(scan, nodules=nodules, annotated=True, notes=(*scan.notes, *notes))


def write(volume: Volume, path: str | Path, *, series_uid: str = "") -> None:
    """Write a volume or mask with its geometry; the file appears only when it is whole.

    Parameters
    ----------
    volume : Volume or Mask
    path : str or Path
        Ends in ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``, ``.mhd`` (its voxels go to a ``.raw`` beside it),
        ``.npy`` (its geometry goes to a ``.json`` beside it), ``.b2nd`` or ``.zarr`` (a folder).
    series_uid : str
        The Series Instance UID, kept in the header, by which `read` names the scan and finds its annotations.

    Raises
    ------
    UnsupportedError
        If the suffix is none of these.
    OutputError
        If the file cannot be written.
    InputError
        If the format needs a package that is not installed.
    """
    path = Path(path)
    _function(WRITERS[check_output(path)])(volume, path, series_uid=series_uid)


def check_output(path: Path) -> str:
    """Check that a path names a format that can be written, before any work is done for it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        Its suffix, a key of `WRITERS`.

    Raises
    ------
    UnsupportedError
        If it names none.
    InputError
        If it needs a package that is not installed.
    """
    suffix = suffix_of(path)
    if suffix not in WRITERS:
        raise UnsupportedError(
            f"cannot write {suffix or 'a file without suffix'}", where=path, do=f"use {' '.join(WRITERS)}"
        )
    check_packages(suffix.removeprefix("."))
    return suffix


def is_volume(path: Path) -> bool:
    """Whether a path is that of a volume, by its suffix: anything else is read as DICOM.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
        A ``.zarr`` is a folder.
    """
    suffix = suffix_of(path)
    if suffix == ".zarr" and path.is_dir():
        return (path / "zarr.json").is_file()
    return suffix in {**READERS, **STORE_READERS} and not path.is_dir()


def _read_dicom(path: Path, *, suffix: str, **options: Any) -> Scan:
    if path.is_file() and suffix in _NO_SCAN:
        raise UnsupportedError(
            f"a {suffix} file is not a scan that hilum reads",
            where=path,
            do="give a DICOM folder, .mhd, .mha, .nii or .nrrd",
        )
    if not path.is_dir() and not path.is_file():
        raise FormatError("neither a file nor a folder", where=path, do="give a DICOM folder or a volume file")
    scan: Scan = _function(("hilum.io.dicom.reader", "read_dicom"))(path, **options)
    return scan


def _function(home: tuple[str, str]) -> Any:
    return getattr(import_module(home[0]), home[1])
