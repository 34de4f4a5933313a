"""LIDC-IDRI's readings as nodules in world millimetres.

`hilum.io.annotations.lidc_xml` reads outlines in pixels of slices; this module converts them to points. The slice is
found by its SOP Instance UID, or where that is unknown, by imageZposition. `hilum.ops.nodules.readings` joins the
readings of one nodule.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.errors import AnnotationError
from hilum.io.annotations.lidc_xml import Message, Outline, parse_message
from hilum.ops.nodules.readings import cluster_readings, nodule_of
from hilum.scan import Nodule, Note, Reading, Scan

SLICE_TOLERANCE = 0.25  # the largest distance of imageZposition from its slice, as a fraction of the slice spacing


class LidcMarks(NamedTuple):
    """What the readers of LIDC-IDRI marked in a scan.

    Parameters
    ----------
    nodules : tuple of Nodule
        From feet to head, each with its readings: nodules of 3 mm or more. See `hilum.ops.nodules.readings.nodule_of`
        for their centers, diameters and scores.
    locations : dict of str to ndarray, each shape (n, 4)
        The marks that are single points: ``small`` nodules, under 3 mm, and ``non_nodules``. One row for each mark of
        each reader: x, y, z in LPS mm, and the number of the reader.
    notes : tuple of Note
        What was odd, and the number of marks without an outline.
    """

    nodules: tuple[Nodule, ...]
    locations: dict[str, NDArray[np.float64]]
    notes: tuple[Note, ...]


def read_lidc(path: Path, *, scan: Scan) -> LidcMarks:
    """Read what the readers of LIDC-IDRI outlined and marked in a scan.

    Parameters
    ----------
    path : Path
        A LidcReadMessage.
    scan : Scan
        On its own grid. The outlines count pixels of DICOM slices. For a scan from another file they are read as
        the file's own pixels, with a note; a file whose rows and columns are not those of a plain axial slice is
        refused, as its rotation is unknown.

    Returns
    -------
    LidcMarks
        A point that is on no slice, or outside the image, is counted and left out.

    Raises
    ------
    AnnotationError
        If the file is not a reading of a CT, is damaged or is of another series; or an outline is on no slice, or
        leaves the image.
    MissingInputError, InputError
        If the file does not exist or cannot be opened.
    """
    message = parse_message(path)
    slices = _Slices(scan, path)
    _check_series(message, scan, slices)
    readings, counts = [], Counter[str]()
    points = _Points(slices)
    for reader, session in enumerate(message.sessions, start=1):
        for mark in session.others:
            points.add("non_nodules", reader, [mark])
        keys: set[object] = set()
        for marked in session.nodules:
            if not marked.outlined:
                points.add("small", reader, marked.outlines)
                continue
            outlines = _once(marked.outlines, counts)
            key = tuple(outlines)
            counts["same nodules"] += key in keys
            if key not in keys:
                drawn = [(outline.inclusion, slices.to_world(outline)) for outline in outlines.values()]
                contours = tuple(points for inclusion, points in drawn if inclusion)
                holes = tuple(points for inclusion, points in drawn if not inclusion)
                readings.append(Reading(reader, slices.grid, contours, holes, MappingProxyType(marked.scores)))
            keys.add(key)
    counts["scores"] = message.bad_scores
    groups = cluster_readings(readings, tolerance_mm=scan.ct.geometry.spacing[0], readers=len(message.sessions))
    counts["crowded"] = sum(len(group) > len(message.sessions) for group in groups)
    counts["nodules"] = len(groups)
    try:
        nodules = tuple(nodule_of(group) for group in groups)
    except AnnotationError as error:  # each outline fits the scan, but together they make no nodule
        raise AnnotationError(error.what, where=path, do="give the reading of this very series") from error
    return LidcMarks(nodules, points.arrays(), _notes(counts + slices.counts + points.counts))


class _Slices:
    """The slices of a scan, and counts of what was odd about the outlines on them."""

    def __init__(self, scan: Scan, path: Path) -> None:
        self.path = path
        self.grid = scan.ct.geometry
        self.from_slices = len(scan.slice_uids) == scan.ct.shape[0]
        self.by_uid = {uid: k for k, uid in enumerate(scan.slice_uids) if uid} if self.from_slices else {}
        self.counts = Counter[str]()
        if any(note.code == "gantry-tilt" for note in scan.notes):
            what = (
                "counts pixels of DICOM slices, but the slices of this scan were shifted, since the gantry was tilted"
            )
            raise AnnotationError(what, where=path, do="give nodules in world millimetres", code="turned-pixels")
        if not self.from_slices:
            # Rows and columns must run to the back and to the left, as those of an axial slice.
            if np.abs(np.array(self.grid.direction[1:]) - ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0))).max() > 1e-3:
                what = "counts pixels of DICOM slices, but the rows and columns of this file are rotated"
                do = "give the DICOM series instead of the file"
                raise AnnotationError(what, where=path, do=do, code="turned-pixels")
            self.counts["assumed"] = 1

    def to_world(self, outline: Outline) -> NDArray[np.float64]:
        """The points of an outline, shape (n, 3), (x, y, z), LPS mm."""
        points = outline.array()
        rows, columns = self.grid.shape[1:]
        if (points < -0.5).any() or (points > (rows - 0.5, columns - 0.5)).any():
            what = f"line {outline.line}: an outline reaches beyond the image of {rows} rows and {columns} columns"
            raise AnnotationError(what, where=self.path, do="give the reading of this very series")
        k = self._slice(outline)
        self.counts["outlines"] += 1
        self.counts["beyond"] += not 0 <= k < self.grid.shape[0]
        return self.grid.index_to_world(np.column_stack([np.full(len(points), k), points]))

    def point_of(self, outline: Outline) -> NDArray[np.float64] | None:
        """The middle of a mark, shape (3,), (x, y, z), LPS mm; None outside the image, or where no slice is near."""
        points, k = outline.array(), self.by_uid.get(outline.sop_uid)
        rows, columns = self.grid.shape[1:]
        if not len(points) or (points < -0.5).any() or (points > (rows - 0.5, columns - 0.5)).any():
            return None
        if k is None:
            height = self._height(outline)
            k = round(height) if math.isfinite(height) else -1
            if not 0 <= k < self.grid.shape[0] or abs(height - k) > SLICE_TOLERANCE:
                return None
        return self.grid.index_to_world((k, *points.mean(axis=0)))

    def _height(self, outline: Outline) -> float:
        """The slice of imageZposition, as a fraction; nan if slices are not axial."""
        upright = abs(self.grid.direction[0][2]) > math.sqrt(0.5)
        return (outline.z_mm - self.grid.origin[2]) / float(self.grid.affine[2, 0]) if upright else math.nan

    def _slice(self, outline: Outline) -> int:
        named, height = self.by_uid.get(outline.sop_uid), self._height(outline)
        if named is not None:
            self.counts["contradictions"] += abs(height - named) > SLICE_TOLERANCE
            return named
        if not math.isfinite(height):
            what = f"line {outline.line}: an outline names no slice of the scan"
            raise AnnotationError(what, where=self.path, do="give the reading of this very series")
        near = round(height)
        short = max(-near, near - self.grid.shape[0] + 1, 0)
        if abs(height - near) > SLICE_TOLERANCE or short * self.grid.spacing[0] > 2000.0:  # mm
            what = f"line {outline.line}: the scan has no slice at imageZposition {outline.z_mm:g} mm"
            raise AnnotationError(what, where=self.path, do="give the original slices, not resampled ones")
        self.counts["unknown"] += bool(self.by_uid) and bool(outline.sop_uid) and not short
        return near


class _Points:
    """The marks that are single points, by kind: nodules under 3 mm and findings that are not nodules."""

    def __init__(self, slices: _Slices) -> None:
        self.slices = slices
        self.rows: dict[str, list[NDArray[np.float64]]] = {"small": [], "non_nodules": []}
        self.counts = Counter[str]()

    def add(self, kind: str, reader: int, outlines: Sequence[Outline]) -> None:
        """Add the mark of a reader, at the middle of its points."""
        self.counts[kind] += 1
        found = [point for outline in outlines if (point := self.slices.point_of(outline)) is not None]
        if found:
            self.rows[kind].append(np.append(np.mean(found, axis=0), reader))
        self.counts["unplaced"] += not found

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        return {kind: np.array(rows, np.float64).reshape(-1, 4) for kind, rows in self.rows.items()}


def _check_series(message: Message, scan: Scan, slices: _Slices) -> None:
    uids = [o.sop_uid for s in message.sessions for m in s.nodules for o in m.outlines]
    same_slices = not message.series_uid and uids and slices.by_uid.keys() >= set(uids)
    if message.series_uid == scan.series_uid or same_slices:
        return
    what = "does not state its series, and its slices are not those of the scan"
    what = "is the reading of another series, not of this scan" if message.series_uid else what
    do = "give the reading of this very series" if slices.from_slices else "state the series of the file: series_uid"
    raise AnnotationError(what, where=slices.path, do=do, code="not-this-series")


def _once(outlines: Sequence[Outline], counts: Counter[str]) -> dict[object, Outline]:
    """The outlines, by what they say, without repeated and empty ones, which are counted."""
    drawn = [outline for outline in outlines if outline.points]
    unique: dict[object, Outline] = {}
    for o in drawn:
        unique.setdefault((o.inclusion, o.sop_uid, repr(o.z_mm), tuple(o.points)), o)
    counts["empty outlines"] += len(outlines) - len(drawn)
    counts["same outlines"] += len(drawn) - len(unique)
    return unique


def _notes(counts: Counter[str]) -> tuple[Note, ...]:
    marks = f"{counts['small']} marks of nodules under 3 mm and {counts['non_nodules']} of other findings"
    lost = f"; {counts['unplaced']} are on no slice of the scan: left out" if counts["unplaced"] else ""
    of_all = f"of {counts['outlines']} outlines"
    contradict = f"{of_all} have another imageZposition than the slice that they name: the slice was used"
    unnamed = f"{of_all} do not name a slice of this series: matched by imageZposition"
    useless = f"{counts['same outlines']} outlines repeat one of the same nodule, {counts['empty outlines']} are empty"
    assumed = "outlines count pixels of DICOM slices; the pixels of this file were used instead"
    notes = (
        (not counts["nodules"], "no-nodules", "the annotations list no nodule of this series"),
        (counts["small"] + counts["non_nodules"], "marks-not-drawn", f"{marks} are points: stored, not drawn{lost}"),
        (counts["beyond"], "outlines-beyond", f"{{}} {of_all} are on slices beyond the scan: stored, not drawn"),
        (counts["unknown"], "unknown-slices", f"{{}} {unnamed}"),
        (counts["contradictions"], "slice-position-differs", f"{{}} {contradict}"),
        (counts["assumed"], "assumed-pixels", assumed),
        (counts["same nodules"], "duplicate-nodules", "{} nodules repeat one of the same reader: ignored"),
        (counts["same outlines"] + counts["empty outlines"], "useless-outlines", f"{useless}: ignored"),
        (counts["scores"], "bad-scores", "{} scores are not a whole number from 1 to 6: left out"),
        (counts["crowded"], "crowded-nodule", "{} nodules have more readings than the scan has readers"),
    )
    return tuple(Note(code, text.format(count)) for count, code, text in notes if count)
