"""Inspect a file, a folder or an archive: everything in it that is a scan, or looks like one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hilum.datasets import folder, structures
from hilum.datasets.listing import Listing
from hilum.errors import HilumError, one_line
from hilum.io.archives import is_archive, opened
from hilum.io.inspect import RegionsRecord, SeriesRecord, inspect, place_records
from hilum.io.volumes.formats import is_volume
from hilum.scan import Note


def inspect_source(source: Path, *, on_note: Callable[[Note], None], **options: Any) -> list[SeriesRecord]:
    """List the series and volume files of a path, and of the archives in it.

    Parameters
    ----------
    source : Path
        A volume file, a DICOM file, an archive, or a folder of them.
    on_note : callable
        Gets each note on what was left out of the folder and its archives, before their scans are inspected.
    **options
        As `hilum.io.inspect.inspect` takes them.

    Returns
    -------
    list of SeriesRecord
        One for each CT series, volume file and refusal.

    Raises
    ------
    InputError
        If the path does not exist or contains no scan.
    """
    try:
        return _inspect(source, source, on_note, options)
    except HilumError:
        for file in structures.read_region_files(structures.regions_alone(source))[0]:
            on_note(_elsewhere_note(_regions_record(file, source)))
        raise


def _inspect(
    source: Path, root: Path, on_note: Callable[[Note], None], options: Mapping[str, Any]
) -> list[SeriesRecord]:
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
        records: list[SeriesRecord] = []
        if not packed or refused or paths.difference(packed):
            records = inspect(place.path, volumes=volumes, refused=refused, **options)
        records = place_records(_with_regions(records, listing, place.path, on_note), place, root)
    return records + [record for path in packed for record in _inspect(path, source, on_note, options)]


def _with_regions(
    records: list[SeriesRecord], listing: Listing, root: Path, on_note: Callable[[Note], None]
) -> list[SeriesRecord]:
    """Add to each series the structure sets and segmentations that refer to it; the others are notes."""
    packed = [ref.path for ref in listing.refs if is_archive(ref.path)]
    paths = [file for file in listing.region_files if not any(map(file.is_relative_to, packed))]  # listed with these
    files, refused = structures.read_region_files(paths)
    for error in refused:
        on_note(Note(error.code, error.what, str(error)))
    several = dict(
        zip((ref.series_uid for ref in listing.refs), structures.files_of_scans(listing.refs, files), strict=True)
    )
    named = [record.series_uid for record in records if several.get(record.series_uid)]
    for file in files:
        if not any(file in several[uid] for uid in named):
            on_note(_elsewhere_note(_regions_record(file, root)))
    return [
        msgspec.structs.replace(record, regions=[_regions_record(f, root) for f in several.get(record.series_uid, [])])
        for record in records
    ]


def _elsewhere_note(record: RegionsRecord) -> Note:
    """Report a file that refers to no series of the inspected path."""
    shown = f"{record.kind}, {record.file}: refers to no series here; {', '.join(record.names)}"
    return Note("regions-elsewhere", f"a {record.kind} refers to no series here", shown)


def _regions_record(file: structures.RegionFile, root: Path) -> RegionsRecord:
    place = one_line(file.path.relative_to(root).as_posix() if file.path != root else root.name, limit=100)
    return RegionsRecord(kind=file.listed.kind, file=place, names=list(file.listed.names))
