"""The marks of a detector in the viewer: which of a table belong to a scan, and what the page shows of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hilum.errors import AnnotationError
from hilum.geometry import Geometry
from hilum.io.annotations.detections import PointTables
from hilum.io.names import hashed_uid, is_uid
from hilum.ops.mark_axes import explain_outside
from hilum.scan import Nodule, Note

MOST = 1000  # marks of a scan that are shown, the most probable first


def of_series(tables: PointTables, names: Sequence[str]) -> tuple[str, ...]:
    """The names of a scan under which a table can have its marks: also a series UID whose hash the scan has."""
    hashes = {hashed_uid(name): name for name in tables.tables if is_uid(name)}
    return tuple(name for one in names if one for name in (one, hashes.get(one, one)))


def shown_detections(
    tables: PointTables, names: Sequence[str], grid: Geometry, nodules: Iterable[Nodule], *, table: Path
) -> tuple[list[dict[str, Any]], list[Note]]:
    """Find the marks of a scan for the page.

    Parameters
    ----------
    tables : PointTables
        The marks of all series.
    names : sequence of str
        What identifies the scan: its series UID first, then other names.
    grid : Geometry
        Of the scan.
    nodules : iterable of Nodule
        Its nodules, in the order of their labels. A mark hits one if it is closer to its center than the radius.
    table : Path
        The file, for messages.

    Returns
    -------
    list of dict
        Of each mark ``world``, ``voxel``, ``diameter_mm`` (None if unknown), ``probability``, and ``nodule``, the label
        of the nearest nodule that it hits, or None. The most probable first.
    list of Note
        Codes ``"no-detections"`` and ``"detections-outside"``.

    Raises
    ------
    AnnotationError
        If no mark of the scan lies in it; the message says in which axes they would.
    """
    marks = tables.marks(of_series(tables, names))
    if not marks:
        return [], [Note("no-detections", "the table of detections has no row of this scan")]
    centers = np.array([mark.center for mark in marks])
    if why := explain_outside(centers, grid):
        raise AnnotationError(why, where=table, do="write x, y, z as LPS mm", code="wrong-axes")
    notes = []
    if outside := int(np.count_nonzero(~grid.contains(centers))):
        notes.append(Note("detections-outside", f"{outside} of {len(marks)} detections lie outside the scan"))
    if len(marks) > MOST:
        notes.append(Note("marks-beyond-limit", f"the {MOST} most probable of {len(marks)} detections are shown"))
    known = list(enumerate(nodules, 1))
    shown = []
    for mark in marks[:MOST]:
        far = {label: float(np.linalg.norm(np.subtract(mark.center, nodule.center))) for label, nodule in known}
        hit = [label for label, nodule in known if far[label] < nodule.diameter_mm / 2]
        shown.append({
            "world": list(mark.center), "voxel": grid.world_to_index(mark.center).tolist(),
            "diameter_mm": None if np.isnan(mark.diameter_mm) else mark.diameter_mm, "probability": mark.probability,
            "nodule": min(hit, key=far.__getitem__, default=None),
        })  # fmt: skip
    return shown, notes
