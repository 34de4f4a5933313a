"""Inspect a file, a folder or an archive: everything in it that is a scan, or looks like one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hilum.datasets import folder, structures
from hilum.datasets.listing import Listing
from hilum.errors import HilumError, one_line
from hilum.io.archives import is_archive, opened
from hilum.io.files import as_path
from hilum.io.inspect import Regions, Series, inspect, place_records
from hilum.io.read_options import Tilt
from hilum.io.volumes.formats import is_volume
from hilum.scan import Note


def series(
    path: str | Path,
    *,
    pixels: bool = True,
    max_gap_mm: float | None = None,
    tilt: Tilt = "correct",
    rescale: tuple[float, float] | None = None,
    hu_offset: float | None = None,
    on_note: Callable[[Note], None] | None = None,
) -> tuple[Series, ...]:
    """List what a file, a folder or an archive holds, its problems, and how `hilum.read` would handle them.

    Parameters
    ----------
    path : str or Path
        A volume file, a DICOM file, an archive, or a folder of them, searched with its subfolders.
    pixels : bool, default True
        Whether to read the pixels of DICOM series. With False only their headers are read, which is faster, but damaged
        slices and different slices at one position are not found. Volume files are read in any case.
    max_gap_mm, tilt, rescale, hu_offset
        As `hilum.read` takes them, with the same defaults: they decide what can be read.
    on_note : callable, optional
        Gets each `Note` on what was left out of the folder and its archives, before their scans are inspected.

    Returns
    -------
    tuple of Series
        One for each CT series, volume file and refusal, as ``hilum info`` lists them.

    Raises
    ------
    InputError
        If the path does not exist or contains no scan.

    Examples
    --------
    >>> import hilum
    >>> for one in hilum.series("scan"):
    ...     print(one.number, one.slices, one.spacing, one.usable)
    1 48 (6.25, 4.0, 4.0) True
    >>> [one.format for one in hilum.series("ct.nii.gz")]
    ['nii.gz']
    """
    source, tell = as_path(path), on_note or (lambda _: None)
    options = {"max_gap_mm": max_gap_mm, "tilt": tilt, "rescale": rescale, "hu_offset": hu_offset}
    try:
        found = _inspect(source, source, tell, {"pixels": pixels, **options})
    except HilumError:
        for file in structures.read_region_files(structures.regions_alone(source))[0]:
            tell(_elsewhere_note(_regions(file, source)))
        raise
    return tuple(replace(one, number=number) for number, one in enumerate(found, 1))


def _inspect(source: Path, root: Path, on_note: Callable[[Note], None], options: Mapping[str, Any]) -> list[Series]:
    """The records of a path; their folders are relative to the root."""
    with opened(source) as place:
        if not place.path.is_dir() or is_volume(place.path):
            return inspect(place.path, **options)
        listing = folder.index(place.path)
        for note in (*place.notes, *listing.notes):
            on_note(note)
        paths = {ref.path for ref in listing.refs}
        volumes, packed = sorted(filter(is_volume, paths)), sorted(filter(is_archive, paths))
        refused = [e for e in listing.refused if not any(Path(str(e.where)).is_relative_to(path) for path in packed)]
        records: list[Series] = []
        if not packed or refused or paths.difference(packed):
            records = inspect(place.path, volumes=volumes, refused=refused, **options)
        records = place_records(_with_regions(records, listing, place.path, on_note), place, root)
    return records + [record for path in packed for record in _inspect(path, source, on_note, options)]


def _with_regions(records: list[Series], listing: Listing, root: Path, on_note: Callable[[Note], None]) -> list[Series]:
    """Add to each series the structure sets and segmentations that refer to it; the others are notes."""
    packed = [ref.path for ref in listing.refs if is_archive(ref.path)]
    paths = [file for file in listing.region_files if not any(map(file.is_relative_to, packed))]  # listed with these
    files, refused = structures.read_region_files(paths)
    for error in refused:
        on_note(Note(error.code, error.what, str(error)))
    several = dict(
        zip((ref.series_uid for ref in listing.refs), structures.files_of_scans(listing.refs, files), strict=True)
    )
    named = [record.uid for record in records if several.get(record.uid)]
    for file in files:
        if not any(file in several[uid] for uid in named):
            on_note(_elsewhere_note(_regions(file, root)))
    return [
        replace(record, regions=tuple(_regions(f, root) for f in several.get(record.uid, []))) for record in records
    ]


def _elsewhere_note(record: Regions) -> Note:
    """Report a file that refers to no series of the inspected path."""
    shown = f"{record.kind}, {record.file}: refers to no series here; {', '.join(record.names)}"
    return Note("regions-elsewhere", f"a {record.kind} refers to no series here", shown)


def _regions(file: structures.RegionFile, root: Path) -> Regions:
    place = one_line(file.path.relative_to(root).as_posix() if file.path != root else root.name, limit=100)
    return Regions(kind=file.listed.kind, file=place, names=tuple(file.listed.names))
