"""LIDC-IDRI's readings as nodules in world millimetres.

What `hilum.io.annotations.lidc_xml` reads in pixels of slices is put where it belongs in the patient: the SOP Instance
UID names the slice, or where that is unknown imageZposition does; readings of one nodule are joined by
`hilum.ops.nodules.readings`.
"""

from __future__ import annotations

import math
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import AnnotationError
from hilum.io.annotations.lidc_xml import parse_message
from hilum.ops.nodules.readings import cluster_readings, nodule_of
from hilum.scan import Note, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.geometry import Geometry
    from hilum.io.annotations.lidc_records import Marked, Message, Outline
    from hilum.scan import Nodule, Scan

SLICE_TOLERANCE = 0.25
"""How far imageZposition may lie from its slice, as a share of the slice spacing."""

_FAR_MM = 2000.0
_STRAIGHT = 1e-3


def read_lidc(path: Path, *, scan: Scan) -> tuple[tuple[Nodule, ...], tuple[Note, ...]]:
    """The nodules that the readers of LIDC-IDRI outlined in a scan.

    Parameters
    ----------
    path : Path
        A LidcReadMessage.
    scan : Scan
        On its own grid. Pixels are counted on the slices of its DICOM series; for a scan of another file they are
        taken for the file's, which is noted, and refused where the file's rows and columns do not run as those of a
        plain axial slice: what was turned can then not be known.

    Returns
    -------
    tuple of Nodule
        From feet to head, each with its readings: nodules of 3 mm or more. See `hilum.ops.nodules.readings.nodule_of`
        for their centers, diameters and scores.
    tuple of Note
        What was odd, and the count of marks that have no outline: nodules under 3 mm and what is no nodule.

    Raises
    ------
    AnnotationError
        If the file is no reading of CT, is damaged or reads another series; or an outline fits no slice, or not into
        the image.
    MissingInputError, InputError
        If the file does not exist or cannot be opened.
    """
    message = parse_message(path)
    place = _Place(scan, path)
    _check_series(message, scan, place)
    readings, counts = [], Counter[str]()
    for reader, session in enumerate(message.sessions, start=1):
        counts["others"] += len(session.others)
        known: set[object] = set()
        for marked in session.nodules:
            if not marked.outlined:
                counts["small"] += 1
                continue
            outlines = _once(marked.outlines, counts)
            key = tuple(_key(outline) for outline in outlines)
            counts["same nodules"] += key in known
            if key not in known:
                readings.append(_reading(reader, marked, outlines, place))
            known.add(key)
    counts["scores"] = message.bad_scores
    tolerance = scan.ct.geometry.spacing[0]
    groups = cluster_readings(readings, tolerance_mm=tolerance, readers=len(message.sessions))
    counts["crowded"] = sum(len(group) > len(message.sessions) for group in groups)
    counts["nodules"] = len(groups)
    try:
        nodules = tuple(nodule_of(group) for group in groups)
    except AnnotationError as error:  # outlines that fit the scan each, and make no nodule together
        raise AnnotationError(error.what, where=path, do="give the reading of this very series") from error
    return nodules, _notes(counts + place.counts)


class _Place:
    """Where the slices of a scan lie, and what was odd about the outlines that were placed."""

    def __init__(self, scan: Scan, path: Path) -> None:
        self.path = path
        self.grid = scan.ct.geometry
        self.from_slices = len(scan.slice_uids) == scan.ct.shape[0]
        self.slices = {uid: k for k, uid in enumerate(scan.slice_uids) if uid} if self.from_slices else {}
        self.counts = Counter[str]()
        if not self.from_slices:
            _check_pixels(self.grid, path)
            self.counts["assumed"] = 1

    def put(self, outline: Outline) -> NDArray[np.float64]:
        """The points of an outline, shape (n, 3), (x, y, z), LPS mm."""
        points = outline.array()
        rows, columns = self.grid.shape[1:]
        if (points < -0.5).any() or (points > (rows - 0.5, columns - 0.5)).any():
            what = f"line {outline.line}: an outline leaves the image of {rows} rows and {columns} columns"
            raise AnnotationError(what, where=self.path, do="give the reading of this very series")
        k = self._slice(outline)
        self.counts["outlines"] += 1
        self.counts["beyond"] += not 0 <= k < self.grid.shape[0]
        return self.grid.index_to_world(np.column_stack([np.full(len(points), k), points]))

    def _slice(self, outline: Outline) -> int:
        named = self.slices.get(outline.sop_uid)
        first, step = self.grid.origin[2], self.grid.affine[2, 0]
        upright = abs(self.grid.direction[0][2]) > math.sqrt(0.5)
        height = (outline.z_mm - first) / step if upright else math.nan
        if named is not None:
            self.counts["contradictions"] += abs(height - named) > SLICE_TOLERANCE
            return named
        if not math.isfinite(height):
            what = f"line {outline.line}: an outline names no slice of the scan"
            raise AnnotationError(what, where=self.path, do="give the reading of this very series")
        near = round(height)
        short = max(-near, near - self.grid.shape[0] + 1, 0)
        if abs(height - near) > SLICE_TOLERANCE or short * self.grid.spacing[0] > _FAR_MM:
            what = f"line {outline.line}: imageZposition {outline.z_mm:g} mm is no slice of the scan"
            raise AnnotationError(what, where=self.path, do="give the slices that were read, not resampled ones")
        self.counts["unknown"] += bool(self.slices) and bool(outline.sop_uid) and not short
        return near


def _check_series(message: Message, scan: Scan, place: _Place) -> None:
    if message.series_uid == scan.series_uid:
        return
    marks = [o for s in message.sessions for m in s.nodules for o in m.outlines]
    if message.series_uid:
        what = "is the reading of another series than this scan"
    elif marks and all(o.sop_uid in place.slices for o in marks):
        return
    else:
        what = "does not say which series it reads, nor do its slices"
    do = "give the reading of this very series" if place.from_slices else "say which series the file is: series_uid"
    raise AnnotationError(what, where=place.path, do=do, code="not-this-series")


def _check_pixels(grid: Geometry, path: Path) -> None:
    """Refuse a file whose rows and columns do not run to the back and to the left, as those of an axial slice do."""
    straight = ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    if np.abs(np.array(grid.direction[1:]) - straight).max() > _STRAIGHT:
        what = "counts pixels of DICOM slices; in this file rows and columns are turned, so they cannot be told"
        raise AnnotationError(what, where=path, do="give the DICOM series in place of the file", code="turned-pixels")


def _reading(reader: int, marked: Marked, outlines: Sequence[Outline], place: _Place) -> Reading:
    drawn = [(outline.inclusion, place.put(outline)) for outline in outlines]
    return Reading(
        reader=reader,
        grid=place.grid,
        contours=tuple(points for inclusion, points in drawn if inclusion),
        holes=tuple(points for inclusion, points in drawn if not inclusion),
        scores=MappingProxyType(marked.scores),
    )


def _once(outlines: Sequence[Outline], counts: Counter[str]) -> list[Outline]:
    """Each outline once, and none without points."""
    found = {_key(outline): outline for outline in reversed(outlines) if outline.points}
    kept = [outline for outline in outlines if found.get(_key(outline)) is outline]
    empty = sum(not outline.points for outline in outlines)
    counts["empty outlines"] += empty
    counts["same outlines"] += len(outlines) - empty - len(kept)
    return kept


def _key(outline: Outline) -> object:
    return outline.inclusion, outline.sop_uid, repr(outline.z_mm), tuple(outline.points)


def _notes(counts: Counter[str]) -> tuple[Note, ...]:
    marks = f"{counts['small']} marks of nodules under 3 mm and {counts['others']} of what is no nodule"
    of_all = f"of {counts['outlines']} outlines"
    useless = f"{counts['same outlines']} outlines repeat one of the same nodule, {counts['empty outlines']} are empty"
    told = (
        (not counts["nodules"], Note("no-nodules", "the annotations list no nodule of this series")),
        (
            counts["small"] + counts["others"],
            Note("marks-not-drawn", f"{marks} have no outline: counted, not drawn"),
        ),
        (
            counts["beyond"],
            Note("outlines-beyond", f"{counts['beyond']} {of_all} lie on slices beyond the scan: kept, not drawn"),
        ),
        (
            counts["unknown"],
            Note("unknown-slices", f"{counts['unknown']} {of_all} name no slice of this series: placed by height"),
        ),
        (
            counts["contradictions"],
            Note(
                "slice-position-differs",
                f"{counts['contradictions']} {of_all} give another imageZposition than the slice they name has: "
                "the slice decided",
            ),
        ),
        (
            counts["assumed"],
            Note(
                "assumed-pixels", "outlines count pixels of DICOM slices; the pixels of this file were taken for them"
            ),
        ),
        (
            counts["same nodules"],
            Note("duplicate-nodules", f"{counts['same nodules']} nodules repeat one of the same reader: ignored"),
        ),
        (
            counts["same outlines"] + counts["empty outlines"],
            Note("useless-outlines", f"{useless}: ignored"),
        ),
        (
            counts["scores"],
            Note("bad-scores", f"{counts['scores']} ratings are no whole number from 1 to 6: left out"),
        ),
        (
            counts["crowded"],
            Note("crowded-nodule", f"{counts['crowded']} nodules have more readings than the scan has readers"),
        ),
    )
    return tuple(note for happened, note in told if happened)
