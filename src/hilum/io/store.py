"""The output folder: one folder a scan, which appears under its name only when it is whole."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

import hilum
from hilum.errors import FormatError, MissingInputError, one_line
from hilum.io import write
from hilum.io.atomic import PARTIAL, whole_folder
from hilum.io.landing import nodule_records, read_locations, write_locations
from hilum.io.parts import list_parts
from hilum.io.preview import write_preview
from hilum.io.records import FileRecord, ScanRecord, grid_record
from hilum.io.stores import FORMATS, PARTS, read_stored
from hilum.io.sums import file_sha256
from hilum.scan import Nodule, Note, Scan
from hilum.volume import Mask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hilum.geometry import Geometry
    from hilum.io.records import NoduleRecord
    from hilum.ops.preview import Preview

HU, UNIT_RANGE = "HU", "unit range"
"""What the voxels of a stored scan are."""


def store_scan(
    scan: Scan,
    folder: Path,
    *,
    scan_id: str,
    file_format: str,
    source: Geometry,
    recipe_name: str,
    recipe_sha256: str,
    fingerprint: str,
    dataset: str = "",
    preview: Preview | None = None,
) -> ScanRecord:
    """Write a preprocessed scan to its folder, all of it or nothing.

    Parameters
    ----------
    scan : Scan
        From `hilum.preprocess`.
    folder : Path
        The run's ``scans`` folder; made where it is missing.
    scan_id : str
        Name of the scan's folder in it; one that is there already is replaced.
    file_format : str
        A key of `hilum.io.stores.STORES`.
    source : Geometry
        The grid the scan was read on.
    recipe_name, recipe_sha256, fingerprint : str
        What the result came from.
    dataset : str
        The kind of input, a key of ``hilum.datasets.DATASETS``.
    preview : Preview, optional
        Small pictures and a histogram of the scan, from `hilum.ops.preview.draw_preview`.

    Returns
    -------
    ScanRecord
        What ``scan.json`` holds.

    Raises
    ------
    OutputError
        If anything cannot be written, or the written file would put a nodule elsewhere; no folder of that name is
        left unfinished.
    """
    with whole_folder(folder / scan_id) as partial:
        suffix = FORMATS[file_format]
        for name, volume in (("ct", scan.ct), ("lungs", scan.lungs), ("nodules", scan.nodule_mask)):
            if volume is not None:
                write(volume, partial / (name + suffix), series_uid=scan.series_uid)
        write_locations(scan, partial)
        if preview is not None:
            write_preview(preview, partial)
        record = ScanRecord(
            scan_id=scan_id,
            series_uid=one_line(scan.series_uid, limit=128),
            dataset=dataset,
            labels=dict(scan.labels),
            version=hilum.__version__,
            recipe=recipe_name,
            recipe_sha256=recipe_sha256,
            fingerprint=fingerprint,
            unit=HU if scan.ct.array.dtype.kind == "i" else UNIT_RANGE,
            geometry=grid_record(scan.ct.geometry),
            source_geometry=grid_record(source),
            nodules=nodule_records(scan, source=source, stored=partial / ("ct" + suffix)),
            notes=[{"code": note.code, "text": note.text} for note in scan.notes],
            figures=dict(scan.figures),
            files=list_files(partial),
        )
        write_record(record, partial)
    return record


def list_files(folder: Path) -> dict[str, FileRecord]:
    """Size and checksum of every file of a scan's folder, but for its ``scan.json``, which there is none yet.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict of str to FileRecord
        By the name below the folder, parts separated by ``/``: a .zarr is a folder of files.
    """
    return {name: FileRecord(bytes=path.stat().st_size, sha256=file_sha256(path)) for name, path in list_parts(folder)}


def write_record(record: ScanRecord, folder: Path) -> None:
    """Write a scan's ``scan.json``.

    Parameters
    ----------
    record : ScanRecord
    folder : Path
        The scan's folder, not yet under its final name.
    """
    (folder / "scan.json").write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")


def read_record(folder: Path) -> ScanRecord | None:
    """Read the ``scan.json`` of a finished scan.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    ScanRecord or None
        None where the folder holds no finished scan of this version's form.
    """
    try:
        return msgspec.json.decode((folder / "scan.json").read_bytes(), type=ScanRecord)
    except (OSError, msgspec.DecodeError):
        return None


def is_whole(folder: Path, record: ScanRecord) -> bool:
    """Whether a finished scan's files are all there, with the sizes that its ``scan.json`` says.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord

    Returns
    -------
    bool
        Their bytes are not read; `hilum.verify` does that.
    """
    try:
        return all((folder / name).stat().st_size == facts.bytes for name, facts in record.files.items())
    except (OSError, ValueError):
        return False


def check_files(folder: Path, record: ScanRecord, *, digest: bool = True) -> None:
    """Hold a finished scan's files against the sizes and checksums of its ``scan.json``.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord
    digest : bool
        Whether all their bytes are read; without it their sizes are looked at, and the bytes of files that are newer
        than ``scan.json``, which is written last.

    Raises
    ------
    MissingInputError, FormatError
        If a file is gone or is not what was written.
    """
    written = (folder / "scan.json").stat().st_mtime_ns
    for name, facts in record.files.items():
        path = folder / name
        try:
            found = path.stat()
            if found.st_size != facts.bytes:
                raise FormatError("is not of the size that scan.json says", where=path, do="run the scan again")
            if (digest or found.st_mtime_ns > written) and file_sha256(path) != facts.sha256:
                raise FormatError("does not match its checksum", where=path, do="run the scan again", code="checksum")
        except (OSError, ValueError) as problem:
            if isinstance(problem, FormatError):
                raise
            raise MissingInputError("cannot be read", where=path, do="run the scan again") from None


def finished_scans(folder: Path) -> Iterator[tuple[Path, ScanRecord]]:
    """Go through the finished scans of a run's output.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Yields
    ------
    tuple of Path and ScanRecord
        In the order of their ids.
    """
    scans = folder / "scans"
    for path in sorted(scans.iterdir()) if scans.is_dir() else ():
        record = None if path.name.startswith(PARTIAL) else read_record(path)
        if record is not None:
            yield path, record


def read_finished(folder: Path, record: ScanRecord) -> Scan:
    """Read a finished scan back, as `hilum.preprocess` gave it.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord
        Its ``scan.json``.

    Returns
    -------
    Scan
        Voxels exactly as stored.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    parts = {name: read_stored(folder, record, name) for name in PARTS}
    ct = parts["ct"]
    if ct is None:
        raise MissingInputError("the scan's folder holds no ct file", where=folder, do="run it again with --overwrite")
    masks = {
        name: None if part is None else Mask(part.array, part.geometry)
        for name, part in parts.items()
        if part is not ct
    }
    return Scan(
        series_uid=record.series_uid,
        ct=ct,
        nodules=tuple(
            Nodule(center=n.world, diameter_mm=n.diameter_mm, scores=MappingProxyType(n.scores)) for n in record.nodules
        ),
        annotated=masks["nodules"] is not None,
        lungs=masks["lungs"],
        nodule_mask=masks["nodules"],
        notes=tuple(Note(note["code"], note["text"]) for note in record.notes),
        figures=MappingProxyType(record.figures),
        nodule_figures=tuple(map(_figures_of, record.nodules)) if masks["nodules"] is not None else (),
        labels=MappingProxyType(record.labels),
        locations=MappingProxyType(read_locations(folder, record)),
    )


def _figures_of(nodule: NoduleRecord) -> dict[str, float]:
    known = {"voxels": float(nodule.voxels), "mean_hu": nodule.mean_hu, "inside_lungs": nodule.inside_lungs}
    return {name: value for name, value in known.items() if value is not None}
