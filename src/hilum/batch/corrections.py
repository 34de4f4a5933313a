"""Corrected masks of another run, which this run uses instead of new ones.

1. `find_corrections` gives each scan the newest corrections beside the other run that are of its series.
2. When the scan was read, `read_corrected_masks` refuses a correction that does not fit it any more.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from hilum.datasets.naming import possible_names
from hilum.errors import AnnotationError, InputError, MissingInputError, OutputError, one_line
from hilum.io.names import hashed_uid
from hilum.ops.nodules.readings import require_readers
from hilum.outputs import corrections, finished
from hilum.outputs.finished import LABELS
from hilum.outputs.records import ScanRecord
from hilum.recipes import Recipe
from hilum.scan import LabelMap, Note, Scan
from hilum.scan_ref import CorrectedMask, ScanRef
from hilum.volume import Mask

NOTES = {"lungs": "lungs-corrected", "nodules": "nodules-corrected", LABELS: "labels-corrected"}
"""The code of the note on a corrected mask, by the first part of the mask's name."""

SAME_PLACE_MM = 0.01  # nodules of two runs are the same if their centers are this close


@dataclass(frozen=True)
class CorrectedMasks:
    """The corrected masks of one scan, on their own grids, and a note on each."""

    masks: Mapping[str, Mask] = field(default_factory=lambda: MappingProxyType({}))
    label_maps: Mapping[str, LabelMap] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[Note, ...] = ()

    def put_into(self, scan: Scan) -> Scan:
        """Replace the label maps of a scan by the corrected ones."""
        return replace(scan, label_maps=MappingProxyType({**scan.label_maps, **self.label_maps}))


def find_corrections(refs: Sequence[ScanRef], run: Path, *, out: Path) -> tuple[list[ScanRef], list[str]]:
    """Give scans the corrections that were saved beside a run.

    Parameters
    ----------
    refs : sequence of ScanRef
        The scans of this run.
    run : Path
        The folder of the other run.
    out : Path
        The folder of this run.

    Returns
    -------
    refs : list of ScanRef
        Each with the newest correction of each mask. They are matched by series UID, or else by name.
    unused : list of str
        One line for each correction that belongs to no scan of the input.

    Raises
    ------
    InputError
        If there are no corrections, or their table is damaged.
    OutputError
        If both folders are the same: the corrections would replace the masks that they were made from.
    """
    if os.path.realpath(run) == os.path.realpath(out):
        what = "is also the folder of the corrections, and their originals would be lost"
        raise OutputError(what, where=out, do="choose another --out", code="exists")
    if not (listed := corrections.newest(corrections.read_corrections(run)).values()):
        do = "correct a mask in 'hilum view', or leave out --corrections"
        raise MissingInputError("has no corrections", where=run, do=do)
    records = {one.scan_id: finished.read_record(run / "scans" / one.scan_id) for one in listed}
    found: dict[str, list[CorrectedMask]] = {}
    unused = []
    for one in listed:
        record = records[one.scan_id]
        if record is None:
            unused.append(f"{one.file}: its scan is not in that run any more")
        elif (ref := _scan_of(record, refs)) is None:
            unused.append(f"{one.file}: its scan is not in the input")
        else:
            mask = CorrectedMask(run, one.scan_id, one.mask, run / one.file, one.sha256, one.who, one.when)
            found.setdefault(ref.scan_id, []).append(mask)
    return [replace(ref, corrections=tuple(found.get(ref.scan_id, ()))) for ref in refs], unused


def _scan_of(record: ScanRecord, refs: Sequence[ScanRef]) -> ScanRef | None:
    """The scan of the input that a record is about."""
    uids = {record.series_uid, hashed_uid(record.series_uid)} - {""}
    by_uid = (ref for ref in refs if ref.series_uid and {ref.series_uid, hashed_uid(ref.series_uid)} & uids)
    by_name = (ref for ref in refs if record.scan_id in {ref.scan_id, *possible_names(ref).values()})
    return next(by_uid, None) or next(by_name, None)


def read_corrected_masks(ref: ScanRef, scan: Scan, recipe: Recipe, *, images: str) -> CorrectedMasks:
    """Read the corrected masks of a scan.

    Parameters
    ----------
    ref : ScanRef
        With its corrections.
    scan : Scan
        As it was read now.
    recipe : Recipe
        Decides which nodules count.
    images : str
        The content of its image files, from `hilum.batch.identity`.

    Returns
    -------
    CorrectedMasks

    Raises
    ------
    InputError
        If the series is not the one that was corrected, a correction or its original has changed since it was saved,
        or its nodules are not those of this run.
    """
    masks: dict[str, Mask] = {}
    label_maps: dict[str, LabelMap] = {}
    notes = []
    for one in ref.corrections:
        record = finished.read_record(one.run / "scans" / one.scan_id)
        saved = corrections.newest(corrections.read_corrections(one.run)).get((one.scan_id, one.mask))
        if record is None or saved is None or saved.sha256 != one.sha256:
            raise InputError("another program changed it during the run", where=one.path, do="run it again")
        _check_series(ref, record, scan, images)
        mask = corrections.read_corrected(one.run, saved, record)
        kind, _, name = one.mask.partition("/")
        if kind == LABELS:
            label_maps[name] = LabelMap(mask, MappingProxyType(record.label_maps[name].values))
        else:
            masks[kind] = mask
        if kind == "nodules":
            _check_nodules(ref, record, require_readers(scan, least=recipe.nodules.min_readers))
        who = one_line(one.who, limit=100)
        notes.append(
            Note(NOTES[kind], f"{name or kind}: corrected by {who}, {one.when}, instead of a mask of this run")
        )
    return CorrectedMasks(masks, label_maps, tuple(notes))


def _check_series(ref: ScanRef, record: ScanRecord, scan: Scan, images: str) -> None:
    """Refuse a correction of other images. Records of older versions do not name the images, only their grid."""
    if record.input_sha256:
        same = record.input_sha256 == images
    else:
        same_uid = record.series_uid in {scan.series_uid, hashed_uid(scan.series_uid)}
        same = same_uid and record.source_geometry.to_geometry().isclose(scan.ct.geometry)
    if not same:
        what = "is not the series whose mask was corrected: its files have changed"
        do = "give the files of that run, or leave out --corrections"
        raise InputError(what, where=ref.path, do=do, code="correction")


def _check_nodules(ref: ScanRef, record: ScanRecord, scan: Scan) -> None:
    """Refuse corrected nodules whose numbers would mean others here."""
    before = [one.world for one in record.nodules]
    now = [one.center for one in scan.nodules]
    near = (
        abs(a - b) <= SAME_PLACE_MM
        for old, new in zip(before, now, strict=False)
        for a, b in zip(old, new, strict=True)
    )
    if not scan.annotated or len(before) != len(now) or not all(near):
        what = (
            f"this run has {len(now)} nodules of the scan, and the corrected mask {len(before)}, or they lie elsewhere"
        )
        raise AnnotationError(what, where=ref.path, do="give --annotations as in that run", code="correction")
