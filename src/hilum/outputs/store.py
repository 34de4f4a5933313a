"""Write, convert and read the folder of a finished scan. It gets its name only when it is complete."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

import hilum
from hilum._kernels.threads import run_slabs
from hilum.errors import OutputError, one_line
from hilum.geometry import Geometry
from hilum.io.atomic import atomic_folder
from hilum.io.scan_files import write
from hilum.io.source_files import list_source_files
from hilum.io.volumes import formats, placement
from hilum.ops.labels.shares import label_extents
from hilum.ops.preview import Preview
from hilum.outputs.checksums import file_record
from hilum.outputs.finished import LABELS, PARTS, RECORD, check_files, missing_parts, read_stored, volume_parts
from hilum.outputs.parts import nodule_records, with_round_trips, write_locations, write_preview
from hilum.outputs.records import FileRecord, LabelMapRecord, ScanRecord, json_bytes
from hilum.scan import LabelMap, Scan

HU, UNIT_RANGE = "HU", "unit range"  # the units of a stored scan's voxels


Hook = Callable[[], None]


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
    input_sha256: str = "",
    dataset: str = "",
    preview: Preview | None = None,
    required_parts: Sequence[str] = (),
    before_publish: Hook = lambda: None,
    workers: int = 0,
) -> ScanRecord:
    """Write a preprocessed scan to its folder, completely or not at all.

    Parameters
    ----------
    scan : Scan
        From `hilum.preprocess`.
    folder : Path
        The run's ``scans`` folder; it is created if necessary.
    scan_id : str
        The name of the scan's folder in it; an existing one is replaced.
    file_format : str
        A key of `hilum.io.volumes.formats.STORES`.
    source : Geometry
        The grid of the input.
    recipe_name, recipe_sha256, fingerprint : str
        They identify the origin of the result.
    input_sha256 : str
        The content of the image files of the input, from `hilum.batch.identity`.
    dataset : str
        The kind of input, a key of ``hilum.datasets.DATASETS``.
    preview : Preview, optional
        Small pictures and a histogram of the scan, from `hilum.ops.preview.draw_preview`.
    required_parts : sequence of str
        The parts that the recipe asks for, by their names in `ScanRecord`.
    before_publish : callable
        Called when everything is written, before the folder gets its name. If it raises, nothing is stored.
    workers : int
        Threads, each writing a volume; 0 for one per available core.

    Returns
    -------
    ScanRecord
        The content of ``scan.json``.

    Raises
    ------
    OutputError
        If something cannot be written, a part is missing, another process changed the folder, or the stored file
        would move a nodule. No unfinished folder gets the name.
    """
    parts = {"ct": scan.ct, "lungs": scan.lungs, "nodules": scan.nodule_mask, "preview": preview, **scan.locations}
    volumes = dict(zip(PARTS, (scan.ct, scan.lungs, scan.nodule_mask), strict=True))
    volumes |= {f"{LABELS}/{name}": one.mask for name, one in scan.label_maps.items()}
    made = [name for name, part in (parts | volumes).items() if part is not None]
    if missing := set(required_parts) - set(made):
        what = f"the recipe asks for {', '.join(sorted(missing))}, but hilum did not make it"
        raise OutputError(what, where=folder / scan_id, do="report this bug in hilum", code="parts")
    with atomic_folder(folder / scan_id) as partial:
        kind, files = formats.STORES[file_format], WrittenFiles(partial)
        suffix, threads = kind.suffix, 1 if kind.in_order else workers
        if scan.label_maps:
            (partial / LABELS).mkdir()
        stored = [(name, volume) for name, volume in volumes.items() if volume is not None]
        label_maps: dict[str, LabelMapRecord] = {}

        def write_volumes(begin: int, end: int) -> None:
            for name, volume in stored[begin:end]:
                write(volume, partial / (name + suffix), series_uid=scan.series_uid)
                files.add(name)
                if name.startswith(f"{LABELS}/"):
                    label = name.removeprefix(f"{LABELS}/")
                    label_maps[label] = _label_record(scan.label_maps[label])

        run_slabs(write_volumes, len(stored), workers=threads, slabs=len(stored))
        write_locations(scan, partial)
        if preview is not None:
            write_preview(preview, partial)
        files.add()
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
            input_sha256=input_sha256,
            unit=HU if scan.ct.array.dtype.kind == "i" else UNIT_RANGE,
            geometry=placement.GridRecord.of(scan.ct.geometry),
            source_geometry=placement.GridRecord.of(source),
            nodules=nodule_records(scan, source=source, stored=partial / ("ct" + suffix)),
            notes=[{"code": note.code, "text": note.text} for note in scan.notes],
            figures=dict(scan.figures),
            files=files.in_order(volumes),
            parts=made,
            label_maps={name: label_maps[name] for name in scan.label_maps},
        )
        files.finish(record)
        before_publish()
    return record


def _label_record(label_map: LabelMap) -> LabelMapRecord:
    found, voxel_ml = label_extents(label_map.mask), label_map.mask.geometry.voxel_volume / 1000
    volumes = {
        name: round(found[value].voxels * voxel_ml, 6) if value in found else 0.0
        for name, value in label_map.values.items()
    }
    return LabelMapRecord(values=dict(label_map.values), volumes_ml=volumes)


class WrittenFiles:
    """The files that a writer put into its folder, with sizes and checksums from the moment of writing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, FileRecord] = {}
        self._stats: dict[str, tuple[int, ...]] = {}

    def add(self, volume: str = "") -> None:
        """Record the new files of the folder, or of one volume in it: others may be half written."""
        for name, path in list_source_files(self.folder):
            if name not in self.records and volume in {"", name.partition(".")[0]}:
                self._stats[name] = _stat(path)
                self.records[name] = file_record(path)

    def in_order(self, volumes: Iterable[str]) -> dict[str, FileRecord]:
        """The records sorted by name, those of the volumes first, whichever thread was done first."""
        order = {name: k for k, name in enumerate(volumes)}
        names = sorted(self.records, key=lambda name: (order.get(name.partition(".")[0], len(order)), name))
        return {name: self.records[name] for name in names}

    def finish(self, record: ScanRecord) -> None:
        """Check that all files are as they were recorded, then write ``scan.json``.

        Raises
        ------
        OutputError
            If another process removed, replaced or added a file, or a part of the scan lacks a file.
        """
        now = {name: _stat(path) for name, path in list_source_files(self.folder)}
        changed = sorted({n for n in now.keys() | self._stats if now.get(n) != self._stats.get(n)})
        if names := changed[:3] or missing_parts(record):
            what = f"another process changed {', '.join(names)} while hilum wrote it"
            do = "run it again, and let nothing else write to this folder"
            raise OutputError(what, where=self.folder, do=do, code="touched")
        (self.folder / RECORD).write_bytes(json_bytes(record))


def _stat(path: Path) -> tuple[int, ...]:
    status = path.lstat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def convert_scan(
    folder: Path, record: ScanRecord, scans: Path, *, file_format: str, recipe_sha256: str, before_publish: Hook
) -> ScanRecord:
    """Write a finished scan in another format, completely or not at all.

    Parameters
    ----------
    folder, record
        As in `hilum.outputs.finished.read_stored`.
    scans : Path
        The folder for the new scan's folder, which gets the same name and replaces an existing one.
    file_format : str
        A key of `hilum.io.volumes.formats.STORES`.
    recipe_sha256 : str
        Of the recipe with this format.
    before_publish : callable
        As in `hilum.outputs.store.store_scan`.

    Returns
    -------
    ScanRecord
        The content of the new ``scan.json``.

    Raises
    ------
    InputError
        If a file does not match its checksum, or its geometry differs from ``scan.json``.
    OutputError
        If the new folder cannot be written, or its volumes differ when they are read back.
    """
    check_files(folder, record)
    suffix = formats.STORES[file_format].suffix
    written = {}
    with atomic_folder(scans / folder.name) as partial:
        files = WrittenFiles(partial)
        if record.label_maps:
            (partial / LABELS).mkdir()
        for part in volume_parts(record):
            if (volume := read_stored(folder, record, part)) is not None:
                written[part] = volume
                write(volume, partial / (part + suffix), series_uid=record.series_uid)
        for name in record.files:
            if name.partition(".")[0] not in volume_parts(record):  # the other files are those of its volumes
                shutil.copyfile(folder / name, partial / name)
        files.add()
        new = msgspec.structs.replace(
            record,
            recipe_sha256=recipe_sha256,
            nodules=with_round_trips(record.nodules, spacing=record.geometry.spacing, stored=partial / ("ct" + suffix)),
            files=files.records,
        )
        for part, volume in written.items():
            copy = read_stored(partial, new, part)
            if copy is None or copy.array.dtype != volume.array.dtype or (copy.array != volume.array).any():
                raise OutputError(f"{part} differs when it is read back", where=scans / folder.name)
        files.finish(new)
        before_publish()
    return new
