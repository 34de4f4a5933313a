"""The output folder: one folder a scan, which appears under its name only when it is whole."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

import hilum
from hilum.errors import MissingInputError, OutputError, one_line
from hilum.io.atomic import atomic_folder
from hilum.io.scan_files import write
from hilum.io.source_files import list_source_files
from hilum.io.volumes.formats import STORES
from hilum.io.volumes.placement import GridRecord
from hilum.outputs.checksums import file_sha256
from hilum.outputs.finished import RECORD, check_files
from hilum.outputs.nodule_records import nodule_records, read_locations, write_locations
from hilum.outputs.preview_files import write_preview
from hilum.outputs.records import FileRecord, ScanRecord
from hilum.outputs.volumes import PARTS, missing_parts, read_stored
from hilum.scan import Nodule, Note, Scan
from hilum.volume import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hilum.geometry import Geometry
    from hilum.ops.preview import Preview
    from hilum.outputs.records import NoduleRecord

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
    promised: Sequence[str] = (),
    before: Callable[[], None] = lambda: None,
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
        A key of `hilum.io.volumes.formats.STORES`.
    source : Geometry
        The grid the scan was read on.
    recipe_name, recipe_sha256, fingerprint : str
        What the result came from.
    dataset : str
        The kind of input, a key of ``hilum.datasets.DATASETS``.
    preview : Preview, optional
        Small pictures and a histogram of the scan, from `hilum.ops.preview.draw_preview`.
    promised : sequence of str
        The parts that the recipe promises, as `ScanRecord` names them.
    before : callable
        Called when all is written, just before the folder takes its name; what it raises keeps it from that.

    Returns
    -------
    ScanRecord
        What ``scan.json`` holds.

    Raises
    ------
    OutputError
        If anything cannot be written, a part is missing, somebody else touched the folder meanwhile, or the written
        file would put a nodule elsewhere; no folder of that name is left unfinished.
    """
    with atomic_folder(folder / scan_id) as partial:
        suffix, seen = STORES[file_format].suffix, WrittenFiles(partial)
        for name, volume in (("ct", scan.ct), ("lungs", scan.lungs), ("nodules", scan.nodule_mask)):
            if volume is not None:
                write(volume, partial / (name + suffix), series_uid=scan.series_uid)
                seen.add()
        write_locations(scan, partial)
        if preview is not None:
            write_preview(preview, partial)
        seen.add()
        record = ScanRecord(
            scan_id=scan_id,
            series_uid=one_line(scan.series_uid, limit=128),
            dataset=dataset,
            labels=dict(scan.labels),
            acquisition=dict(scan.acquisition),
            version=hilum.__version__,
            recipe=recipe_name,
            recipe_sha256=recipe_sha256,
            fingerprint=fingerprint,
            unit=HU if scan.ct.array.dtype.kind == "i" else UNIT_RANGE,
            geometry=GridRecord.of(scan.ct.geometry),
            source_geometry=GridRecord.of(source),
            nodules=nodule_records(scan, source=source, stored=partial / ("ct" + suffix)),
            notes=[{"code": note.code, "text": note.text} for note in scan.notes],
            figures=dict(scan.figures),
            files=seen.files,
            parts=_parts(scan, preview, promised, where=folder / scan_id),
        )
        seen.finish(record)
        before()
    return record


def _parts(scan: Scan, preview: Preview | None, promised: Sequence[str], *, where: Path) -> list[str]:
    """What a scan has, of which nothing may be missing that was promised."""
    held = {"ct": scan.ct, "lungs": scan.lungs, "nodules": scan.nodule_mask, "preview": preview, **scan.locations}
    parts = [name for name, value in held.items() if value is not None]
    if lost := set(promised) - set(parts):
        what = f"the recipe asks for {', '.join(sorted(lost))}, and none was made"
        raise OutputError(what, where=where, do="report this: it is a fault of hilum", code="parts")
    return parts


class WrittenFiles:
    """What a writer put into its folder: each file's size and checksum, taken as soon as the file is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, FileRecord] = {}
        self._stats: dict[str, tuple[int, ...]] = {}

    def add(self) -> None:
        """Take down the files that are new."""
        for name, path in list_source_files(self.folder):
            if name not in self.files:
                self._stats[name] = _stat(path)
                self.files[name] = FileRecord(bytes=path.stat().st_size, sha256=file_sha256(path))

    def finish(self, record: ScanRecord) -> None:
        """Write ``scan.json``, and make sure that every file is there as it was when it was taken down.

        Raises
        ------
        OutputError
            If somebody removed, replaced or added a file meanwhile, or a part of the scan has not all of its files.
        """
        there = {name: _stat(path) for name, path in list_source_files(self.folder)}
        if there != self._stats or missing_parts(record):
            changed = sorted({n for n in there.keys() | self._stats if there.get(n) != self._stats.get(n)})
            what = f"somebody changed {', '.join(changed[:3] or missing_parts(record))} while it was being written"
            raise OutputError(what, where=self.folder, do="run it again; let nothing else clean this folder",
                              code="touched")  # fmt: skip
        (self.folder / RECORD).write_bytes(encode_record(record))


def _stat(path: Path) -> tuple[int, ...]:
    found = path.lstat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def encode_record(record: ScanRecord) -> bytes:
    """Write a record as the text of a ``scan.json``.

    Parameters
    ----------
    record : ScanRecord

    Returns
    -------
    bytes
    """
    return msgspec.json.format(msgspec.json.encode(record)) + b"\n"


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
        If a file is missing or damaged, is a link, or was written to since the scan was stored and does not match its
        checksum.
    """
    check_files(folder, record, digest=False)
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
        acquisition=MappingProxyType(record.acquisition),
        locations=MappingProxyType(read_locations(folder, record)),
    )


def _figures_of(nodule: NoduleRecord) -> dict[str, float]:
    known = {"voxels": float(nodule.voxels), "mean_hu": nodule.mean_hu, "inside_lungs": nodule.inside_lungs}
    return {name: value for name, value in known.items() if value is not None}
