"""A scan, what is known about it, and the ticket by which a batch names it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.errors import HilumError
    from hilum.geometry import Geometry, Vector
    from hilum.volume import Mask, Volume

RIGHT_LUNG, LEFT_LUNG, AIRWAYS = 1, 2, 3
"""Labels of a lung mask. The patient's right is where LPS x is smaller. Airways are labeled only on request."""

Label = int | float | str
"""What a data set may say of a scan: a fold, a diagnosis."""


@dataclass(frozen=True)
class Note:
    """One oddity met in a scan, and what was done about it.

    Parameters
    ----------
    code : str
        Short and stable: ``"padding-to-air"``, ``"duplicate-slices"``.
    text : str
        One line for a person; never a patient's name or other free text from a file.
    shown : str
        The same for the person at the screen, where it names files or folders whose names must not leave; it is
        never written.
    """

    code: str
    text: str
    shown: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"

    @property
    def told(self) -> str:
        """The note as the screen has it."""
        return f"{self.code}: {self.shown or self.text}"


@dataclass(frozen=True, eq=False)
class Reading:
    """One reader's outlines of one nodule, slice by slice.

    Parameters
    ----------
    reader : int
        1, 2, ...: tells the readers of one scan apart, and nobody across scans.
    grid : Geometry
        The slices on which the outlines were drawn. The outlines may lie on slices beyond it.
    contours : tuple of ndarray, each shape (n, 3), (x, y, z), LPS mm
        What the reader outlined: a closed line along centers of pixels of one slice each.
    holes : tuple of ndarray, each shape (n, 3), (x, y, z), LPS mm
        What the reader took out of it again.
    scores : mapping of str to float
        The reader's ratings (malignancy, subtlety, ...).

    Raises
    ------
    AnnotationError
        If an outline is no list of finite points, or there is none but holes.
    """

    reader: int
    grid: Geometry
    contours: tuple[NDArray[np.float64], ...]
    holes: tuple[NDArray[np.float64], ...] = ()
    scores: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not self.contours:
            raise AnnotationError("a reading without an outline")
        object.__setattr__(self, "contours", tuple(map(_outline, self.contours)))
        object.__setattr__(self, "holes", tuple(map(_outline, self.holes)))

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild through the constructor; a read-only mapping does not pickle by itself."""
        return Reading, (self.reader, self.grid, self.contours, self.holes, dict(self.scores))


def _outline(points: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = np.array(points, np.float64)
    if kept.ndim != 2 or kept.shape[1] != 3 or not len(kept) or not np.isfinite(kept).all():
        raise AnnotationError(f"an outline of shape {kept.shape} is not a list of finite (x, y, z) points in mm")
    kept.flags.writeable = False
    return kept


@dataclass(frozen=True, eq=False)
class Nodule:
    """A nodule in the patient's space, independent of any grid.

    Parameters
    ----------
    center : tuple of float, (x, y, z), LPS mm
    diameter_mm : float
        A diameter, not a radius.
    readings : tuple of Reading
        What each reader outlined; empty where only a sphere is known.
    scores : mapping of str to float
        Ratings (malignancy, subtlety, ...), the readers' means; or a detector's probability.

    Raises
    ------
    AnnotationError
        If the center is not finite or the diameter is not positive and finite.
    """

    center: Vector
    diameter_mm: float
    readings: tuple[Reading, ...] = ()
    scores: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if len(self.center) != 3 or not np.isfinite(self.center).all():
            raise AnnotationError(f"nodule center {self.center} is not a finite (x, y, z) position in mm")
        if not (np.isfinite(self.diameter_mm) and self.diameter_mm > 0):
            raise AnnotationError(f"nodule diameter is {self.diameter_mm} mm, expected a positive number")

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild through the constructor; a read-only mapping does not pickle by itself."""
        return Nodule, (self.center, self.diameter_mm, self.readings, dict(self.scores))


@dataclass(frozen=True, eq=False)
class Scan:
    """One CT scan with all that belongs to it.

    Parameters
    ----------
    series_uid : str
        The DICOM Series Instance UID; where there is none the file's stem, if that shows no person, or a made-up name.
    ct : Volume
        int16 Hounsfield units on the scan's own grid.
    nodules : tuple of Nodule
    annotated : bool
        Whether somebody looked for nodules: no nodule in an annotated scan is knowledge, elsewhere it is none.
    lungs : Mask or None
        Labels `RIGHT_LUNG` and `LEFT_LUNG`, if they are known.
    nodule_mask : Mask or None
        Labels 1, 2, ... in the order of `nodules`, where they were drawn on a grid.
    notes : tuple of Note
        Every oddity met, and what was done about it.
    figures : mapping of str to float
        What was measured on the scan, each name ending in its unit: ``lung_right_ml``, ``lung_mean_hu``.
    nodule_figures : tuple of mapping of str to float
        What was measured on each nodule, in the order of `nodules`: ``voxels``, ``mean_hu``, ``inside_lungs``.
    labels : mapping of str to number or str
        What a data set says of the whole scan: ``fold``, ``cancer``.
    locations : mapping of str to ndarray, each shape (n, 4)
        Places that are no nodules, by kind: x, y, z in LPS mm and one number. ``candidates`` have their class (1 at a
        nodule, 0 elsewhere), ``excluded`` findings their diameter in mm, -1 where it is unknown.
    slice_uids : tuple of str
        The SOP Instance UID of each slice of the scan as it was read, by which readers name slices; empty text for
        a slice that no file holds. Empty where the scan was not read from DICOM slices.
    acquisition : mapping of str to number or str
        How the scan was made, as its DICOM headers say: ``kernel``, ``slice_thickness_mm``. Nothing is decided by it.
    """

    series_uid: str
    ct: Volume
    nodules: tuple[Nodule, ...] = ()
    annotated: bool = False
    lungs: Mask | None = None
    nodule_mask: Mask | None = None
    notes: tuple[Note, ...] = ()
    figures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    nodule_figures: tuple[Mapping[str, float], ...] = ()
    labels: Mapping[str, Label] = field(default_factory=lambda: MappingProxyType({}))
    locations: Mapping[str, NDArray[np.float64]] = field(default_factory=lambda: MappingProxyType({}))
    slice_uids: tuple[str, ...] = ()
    acquisition: Mapping[str, Label] = field(default_factory=lambda: MappingProxyType({}))

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild through the constructor; a read-only mapping does not pickle by itself."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {name: dict(values[name]) for name in ("figures", "labels", "locations", "acquisition")}
        return _rebuild_scan, ({**values, **plain, "nodule_figures": tuple(map(dict, self.nodule_figures))},)


def _rebuild_scan(values: dict[str, Any]) -> Scan:
    return Scan(**values)


@dataclass(frozen=True, eq=False)
class Known:
    """What the tables of a data set say of one scan, read once for all of its scans.

    Parameters
    ----------
    annotated : bool
        Whether the data set lists nodules, of this scan or of others.
    nodules : tuple of Nodule
    labels : mapping of str to number or str
        As `Scan` has them.
    locations : mapping of str to ndarray, each shape (n, 4)
        As `Scan` has them.
    lungs : Path or None
        A lung mask that comes with the data set.
    notes : tuple of Note
        What was odd in the scan's rows.
    refusal : HilumError or None
        Why the scan cannot be used: raised when it is loaded, so that it costs this scan alone.
    """

    annotated: bool = False
    nodules: tuple[Nodule, ...] = ()
    labels: Mapping[str, Label] = field(default_factory=dict)
    locations: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    lungs: Path | None = None
    notes: tuple[Note, ...] = ()
    refusal: HilumError | None = None


@dataclass(frozen=True, slots=True)
class ScanRef:
    """The unit of work of a batch: enough to load one scan, and tiny.

    Parameters
    ----------
    dataset : str
        Name of the adapter that loads it, a key of ``hilum.datasets.DATASETS``.
    scan_id : str
        Made by hilum of ``[A-Za-z0-9._-]``; names the scan's output folder.
    path : Path
        The file or folder to read.
    series_uid : str
        Which series of a folder; empty where the path holds one scan.
    annotations : Path or None
        Where the scan's nodules are listed.
    known : Known or None
        What the data set's tables say of it, where they were read for all scans at once.
    files : tuple of str
        The files of the series, relative to `path`, as the listing found them; empty where it opened none.
    source : str
        The input of the run that it was found in: its name, or where there are several what tells them apart.
    place : str
        Where it lies in that input: `path` relative to it, its parts separated by ``/``.
    case : str
        What a public data set calls the case (``LIDC-IDRI-0314``); empty where none does.
    uid_id : str
        The id by the series UID, where `scan_id` is another on request.
    """

    dataset: str
    scan_id: str
    path: Path
    series_uid: str = ""
    annotations: Path | None = None
    known: Known | None = field(default=None, compare=False)
    files: tuple[str, ...] = field(default=(), compare=False, repr=False)
    source: str = field(default="", compare=False)
    place: str = field(default="", compare=False)
    case: str = field(default="", compare=False)
    uid_id: str = field(default="", compare=False)
