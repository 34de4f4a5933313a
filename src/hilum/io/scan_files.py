"""Read a scan from a path of any format, give it its annotations, and write a volume."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hilum.errors import FormatError, InputError, MissingInputError, UnsupportedError
from hilum.io import archives, files, unreadable
from hilum.io.folders import list_folder
from hilum.io.names import is_uid
from hilum.io.read_options import ReadOptions
from hilum.io.volumes import formats
from hilum.ops.arguments import expect, volume_of
from hilum.ops.quality.plausibility import note_implausible_size, note_implausible_values, why_not_hu
from hilum.scan import Note, Scan
from hilum.volume import Volume

if TYPE_CHECKING:
    from hilum.io.annotations.table_rows import TableColumns

_NO_SCAN = {
    ".7z", ".bz2", ".csv", ".jpeg", ".jpg", ".json", ".png", ".rar", ".raw", ".toml", ".txt", ".xml", ".xz", ".zraw",
}  # fmt: skip
"""Suffixes of files that are refused at once, without an attempt to read them as DICOM."""


def read(
    path: str | Path,
    *,
    series: str = "",
    phase: str = "",
    volume: int | None = None,
    annotations: str | Path | None = None,
    columns: "TableColumns | None" = None,
    series_uid: str = "",
    max_gap_mm: float | None = None,
    slice_spacing_mm: float | None = None,
    tilt: Literal["correct", "refuse"] = "correct",
    rescale: tuple[float, float] | None = None,
    hu_offset: float | None = None,
) -> Scan:
    """Read one CT scan of any format into Hounsfield units, with its geometry.

    Parameters
    ----------
    path : str or Path
        A folder with a DICOM series (searched with its subfolders), one DICOM file, or a ``.mhd``, ``.mha``,
        ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.nhdr`` file; or a ``.npy``, ``.b2nd`` or ``.zarr`` that hilum wrote.
        A ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz`` with one of these, and slices as ``.dcm.gz``, are read, too.
    series : str
        The series to read from a folder with several: its Series Instance UID, its number in the list of
        ``hilum info``, or its kernel. By default the largest chest-like CT series is read, and a note names the choice.
    phase : str
        Which of several volumes at the same positions, such as phases of the heart: the value of the attribute that
        tells them apart. By default the first of the largest is read, and a note names it.
    volume : int, optional
        The number of the volume in the list of ``hilum info``, from 1.
    annotations : str or Path, optional
        A table of nodules (``.csv``) or a list of boxes (``.json``), whose rows of this series become the scan's
        nodules, or a LIDC-IDRI reading in ``.xml``, whose outlines do. A table without rows of this series is searched
        for rows that name its file or folder; without such rows the scan stays without annotations. A note reports
        either case.
    columns : TableColumns, optional
        Which column of the table is which, and the axes of its positions, if hilum does not know its header.
    series_uid : str
        The scan's series UID, where its file does not state it or the annotations use another one.
    max_gap_mm : float, optional
        The largest distance between the neighbors of missing or damaged DICOM slices. The slices between them are
        interpolated linearly, with a note. 0 refuses every gap; the default is the limit of the recipe ``default``.
    slice_spacing_mm : float, optional
        For a DICOM series without positions: the distance from one InstanceNumber to the next, or from one frame of
        a file to the next, negative where they count from head to feet. A note says that order and positions were
        stated, not read.
    tilt : {"correct", "refuse"}, default "correct"
        What to do with slices of a tilted gantry, which are sheared: shift each one within its plane onto a straight
        grid, with a note, or refuse them.
    rescale : tuple of float, optional
        Slope and intercept from stored values to Hounsfield units, instead of those of the file: for a file that
        has none or wrong ones. A note reports it.
    hu_offset : float, optional
        Added to every value, HU, before padding is recognized and values are clipped: -1024 for a scan whose
        intercept was lost. A note reports it.

    Returns
    -------
    Scan
        ``scan.ct`` is int16 HU on the scan's own grid; ``scan.notes`` lists what was odd.

    Raises
    ------
    InputError
        If the path does not exist, contains nothing readable, or the scan cannot be trusted: one line with the
        reason and the next step. `MissingInputError`, `FormatError`, `UnsupportedError`, `SeriesError`,
        `GeometryError`, `AnnotationError` and `InputTypeError` are subclasses.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> scan.ct.shape, scan.ct.spacing, len(scan.nodules)
    ((48, 96, 96), (6.25, 4.0, 4.0), 5)
    """
    path, table = files.as_path(path), None if annotations is None else files.as_path(annotations)
    if not files.path_exists(path):
        if os.path.islink(path):  # noqa: PTH114 - Path.is_link raises for a name with a null byte
            raise unreadable.not_downloaded(path, [path.name])
        raise MissingInputError("there is no such file or folder", where=path, do="check the path")
    if columns is not None and annotations is None:
        raise InputError("there is no table to which the columns belong", do="give the annotations", code="option")
    options = ReadOptions(
        series=series, phase=phase, volume=volume, max_gap_mm=max_gap_mm, slice_spacing_mm=slice_spacing_mm,
        tilt=tilt, rescale=rescale, hu_offset=hu_offset,
    )  # fmt: skip
    scan, names = _read_any(path, "", options)
    scan = replace(scan, series_uid=series_uid or scan.series_uid)
    if table is None:
        return scan
    from hilum.io.annotate import annotate  # late: most scans are read without a table

    return annotate(scan, table, names=() if series_uid else names, columns=columns)


def read_member(path: Path, member: str, *, annotations: Path | None = None, **options: Any) -> Scan:
    """Read one scan of an archive with several, as `read`.

    Parameters
    ----------
    path : Path
        The archive.
    member : str
        A volume file or a folder in it, with ``/``.
    annotations, options
        As `read` takes them.
    """
    scan, names = _read_any(path, member, ReadOptions(**options))
    if annotations is None:
        return scan
    from hilum.io.annotate import annotate

    return annotate(scan, annotations, names=names)


def _read_any(path: Path, member: str, options: ReadOptions) -> tuple[Scan, tuple[str, ...]]:
    """A scan without annotations, and the names under which a table may list it."""
    with archives.opened(path) as opened:
        source = opened.path / member if member or opened.path == path else _only_volume(opened.path)
        scan = _read_place(source, options)
        judged = (*note_implausible_size(scan.ct.geometry), *note_implausible_values(scan.ct))
        own = scan_names(source)[:1] if source != path and formats.is_volume(source) else ()
    return replace(scan, notes=(*opened.notes, *scan.notes, *judged)), (*own, *scan_names(path))


def _only_volume(folder: Path) -> Path:
    """The one volume file of an unpacked archive without DICOM; else the folder itself."""
    names = list_folder(folder).files
    volumes = [name for name in names if formats.suffix_of(Path(name)) in formats.SCAN_SUFFIXES]
    others = set(names).difference(volumes)
    is_one = len(volumes) == 1 and not any(unreadable.looks_like_dicom(name, bare=False) for name in others)
    return folder / volumes[0] if is_one else folder


def _read_place(path: Path, options: ReadOptions) -> Scan:
    """Read the scan of a folder or file that is not packed."""
    if not formats.is_volume(path):
        return _read_dicom(path, **vars(options))
    if options.series or options.phase or options.volume is not None:
        raise InputError("only a DICOM folder has several series", where=path, do="leave the choice of one out")
    if options.slice_spacing_mm is not None:
        what = "a slice spacing can be stated for a DICOM series only"
        raise InputError(what, where=path, do="leave it out: the header states the spacing", code="option")
    return _read_volume(path, options)


def check_is_ct(scan: Scan, path: Path) -> Scan:
    """Refuse a scan whose values cannot be Hounsfield units: a label map, gray values of a screen, a normalized scan.

    `read` only adds a note to such a scan, so that a mask can be viewed.

    Parameters
    ----------
    scan : Scan
        The scan that was read.
    path : Path
        Where `read` found it.

    Returns
    -------
    Scan
        The same.

    Raises
    ------
    UnsupportedError
    """
    if cause := why_not_hu(scan.ct):
        what = f"its values are not Hounsfield units: {cause}"
        raise UnsupportedError(what, where=path, do="give the CT that it was made from", code="not-hu")
    return scan


def scan_names(path: Path) -> tuple[str, ...]:
    """The names under which a table without series UIDs may list the scan at a path.

    Returns
    -------
    tuple of str
        For a volume file or an archive its name without the suffix, and the name of its folder; else the name of the
        folder.
    """
    path = path.absolute()
    suffix = archives.suffix_of(path) if archives.is_archive(path) else ""
    suffix = formats.suffix_of(path) if formats.is_volume(path) else suffix
    return (path.name[: -len(suffix)], path.parent.name) if suffix else (path.name,)


def write(volume: Volume | Scan, path: str | Path, *, series_uid: str = "") -> None:
    """Write a volume, a mask or the CT of a scan with its geometry; the file appears only when it is complete.

    Parameters
    ----------
    volume : Volume, Mask or Scan
        Of a scan only the CT is written, under the scan's Series Instance UID.
    path : str or Path
        Ends in ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``, ``.mhd`` (its voxels go to a ``.raw`` of the same name),
        ``.npy`` (its geometry goes to a ``.json`` of the same name), ``.b2nd`` or ``.zarr`` (a folder).
    series_uid : str
        The Series Instance UID, stored in the header: `read` names the scan by it and finds its annotations. By default
        that of a scan, and none for a volume.

    Raises
    ------
    UnsupportedError
        If the suffix is not one of these.
    OutputError
        If the file cannot be written.
    InputError
        If the format needs a package that is not installed.
    InputTypeError
        If the first argument is neither a volume nor a scan, or the second no path.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan")
    >>> hilum.write(hilum.resample(scan, 4.0), "resampled.nii.gz")
    >>> hilum.read("resampled.nii.gz").series_uid == scan.series_uid
    True
    """
    ct, path = volume_of(volume), files.as_path(path)
    expect(series_uid, str, "series UID", do="give a text, or leave it out")
    if isinstance(volume, Scan):
        series_uid = series_uid or volume.series_uid
    formats.check_output(path)(ct, path, series_uid=series_uid if is_uid(series_uid) else "")


def _read_volume(path: Path, options: ReadOptions) -> Scan:
    """Read a volume file, with the rescale and offset that the user states."""
    file = formats.FORMATS[formats.suffix_of(path)].read(path)
    header = file.header
    slope, intercept = options.rescaled(header.slope, header.intercept)
    stated = options.rescale_note
    notes = (*header.notes, Note("stated-rescale", stated)) if stated else header.notes
    return replace(file, header=replace(header, slope=slope, intercept=intercept, notes=notes)).to_scan(
        path, tilt=options.tilt
    )


def _read_dicom(path: Path, **options: Any) -> Scan:
    from hilum.io.dicom.reader import read_dicom  # late: a volume file does not need it

    suffix = formats.suffix_of(path)
    if path.is_file() and suffix in _NO_SCAN:
        what = f"a {suffix} file is not a scan that hilum reads"
        raise UnsupportedError(what, where=path, do="give a DICOM folder, .mhd, .mha, .nii or .nrrd")
    if not path.is_dir() and not path.is_file():
        raise FormatError("neither a file nor a folder", where=path, do="give a DICOM folder or a volume file")
    return read_dicom(path, **options)
