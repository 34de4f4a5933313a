"""A scan with its nodules, label maps and notes."""

import copyreg
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hilum.errors import AnnotationError
from hilum.geometry import Geometry, Vector
from hilum.volume import Mask, Volume

RIGHT_LUNG, LEFT_LUNG, AIRWAYS = 1, 2, 3
"""Labels of a lung mask. The patient's right is where LPS x is smaller. Airways are labeled only on request."""

Axes = Literal["lps", "ras", "voxel-xyz", "voxel-zyx"]
"""The axes of a table's positions: mm in the patient (LPS or RAS), or voxels of the scan's own grid.

The letters name the table's three columns in their order: with ``voxel-zyx`` the first holds the slice.
"""

Label = int | float | str  # a label that a data set gives a scan: a fold, a diagnosis


def _read_only(values: dict[str, Any]) -> MappingProxyType[str, Any]:
    return MappingProxyType(values)


copyreg.pickle(MappingProxyType, lambda mapping: (_read_only, (dict(mapping),)))  # by itself it cannot be pickled


@dataclass(frozen=True)
class Note:
    """One oddity of a scan, and what hilum did about it.

    Parameters
    ----------
    code : str
        Short and stable: ``"padding-to-air"``, ``"duplicate-slices"``.
    text : str
        One line; never a patient's name or other free text from a file.
    shown : str
        The line for the terminal, if it names files or folders that could identify a patient. It is never written to
        a file.
    """

    code: str
    text: str
    shown: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"

    @property
    def terminal_text(self) -> str:
        """The note as the terminal shows it."""
        return f"{self.code}: {self.shown or self.text}"


@dataclass(frozen=True, eq=False)
class Reading:
    """One reader's outlines of one nodule, slice by slice.

    Parameters
    ----------
    reader : int
        1, 2, ...: distinguishes the readers of one scan; the numbers of two scans are unrelated.
    grid : Geometry
        The slices on which the outlines were drawn. Outlines may lie on further slices.
    contours : tuple of ndarray, each shape (n, 3), (x, y, z), LPS mm
        Outlines: each a closed line through pixel centers of one slice.
    holes : tuple of ndarray, each shape (n, 3), (x, y, z), LPS mm
        Outlines of regions that are excluded.
    scores : mapping of str to float
        The reader's ratings (malignancy, subtlety, ...).

    Raises
    ------
    AnnotationError
        If an outline is not a list of finite points, or there are only holes.
    """

    reader: int
    grid: Geometry
    contours: tuple[NDArray[np.float64], ...]
    holes: tuple[NDArray[np.float64], ...] = ()
    scores: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not self.contours:
            raise AnnotationError("a reading has no outline")
        object.__setattr__(self, "contours", tuple(map(_outline, self.contours)))
        object.__setattr__(self, "holes", tuple(map(_outline, self.holes)))

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild through the constructor, so that the outlines of an unpickled copy are read-only too."""
        return Reading, (self.reader, self.grid, self.contours, self.holes, self.scores)


def _outline(points: NDArray[np.float64]) -> NDArray[np.float64]:
    copy = np.array(points, np.float64)
    if copy.ndim != 2 or copy.shape[1] != 3 or not len(copy) or not np.isfinite(copy).all():
        raise AnnotationError(f"an outline of shape {copy.shape} is not a list of finite (x, y, z) points in mm")
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, eq=False)
class Nodule:
    """A nodule in the patient's space, independent of any grid.

    Parameters
    ----------
    center : tuple of float, (x, y, z), LPS mm
    diameter_mm : float
        A diameter, not a radius.
    readings : tuple of Reading
        The outlines of each reader; empty if only a sphere is known.
    scores : mapping of str to float
        Mean ratings of the readers (malignancy, subtlety, ...), or a detector's probability.

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


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A mask whose values have names: lobes, a tumor, lungs that somebody outlined.

    Parameters
    ----------
    mask : Mask
        On any grid in the world; it need not be the scan's.
    values : mapping of str to int
        The value of each name, 1 to 255.

    Raises
    ------
    AnnotationError
        If a value is out of range or has two names.
    """

    mask: Mask
    values: Mapping[str, int]

    def __post_init__(self) -> None:
        values = list(self.values.values())
        if len(set(values)) != len(values) or not all(1 <= value <= 255 for value in values):
            raise AnnotationError(f"the values {values} of a label map are not different numbers from 1 to 255")


@dataclass(frozen=True, eq=False)
class Scan:
    """One CT scan with its masks, nodules, notes and measurements.

    Parameters
    ----------
    series_uid : str
        The DICOM Series Instance UID. Without one: the file's stem if it cannot identify a patient, or a made-up name.
    ct : Volume
        int16 Hounsfield units on the scan's own grid.
    nodules : tuple of Nodule
    annotated : bool, default False
        Whether the scan was searched for nodules. Only then does an empty `nodules` mean that there are none.
    lungs : Mask or None
        Labels `RIGHT_LUNG` and `LEFT_LUNG`.
    nodule_mask : Mask or None
        Labels 1, 2, ... in the order of `nodules`.
    label_maps : mapping of str to LabelMap
        Masks that came with the scan, by name: ``tumor``, ``lobes``. Their grids may differ from the scan's.
    notes : tuple of Note
        Every oddity, and what hilum did about it.
    figures : mapping of str to float
        Measurements of the scan; each name ends in its unit: ``lung_right_ml``, ``lung_mean_hu``.
    nodule_figures : tuple of mapping of str to float
        Measurements of each nodule, in the order of `nodules`: ``voxels``, ``mean_hu``, ``inside_lungs``.
    labels : mapping of str to number or str
        Labels that a data set gives the scan: ``fold``, ``cancer``.
    locations : mapping of str to ndarray, each shape (n, 4)
        Positions other than nodules, by kind: x, y, z in LPS mm and one number. For ``candidates`` it is the class (1
        at a nodule, 0 elsewhere), for ``excluded`` findings the diameter in mm, -1 if unknown. For ``few_readers``,
        nodules that too few readers outlined, it is the diameter in mm; for the points that the readers of LIDC-IDRI
        marked, ``small`` nodules and ``non_nodules``, the number of the reader.
    slice_uids : tuple of str
        The SOP Instance UID of each slice of the original scan; an empty string for an interpolated slice. Empty if the
        scan was not read from DICOM slices.
    mark_axes : Axes, default "lps"
        The axes in which a table gave the nodules; `nodules` are in LPS in any case.
    acquisition : mapping of str to number or str
        Acquisition parameters from the DICOM headers: ``kernel``, ``slice_thickness_mm``. hilum only stores them.
    """

    series_uid: str
    ct: Volume
    nodules: tuple[Nodule, ...] = ()
    annotated: bool = False
    lungs: Mask | None = None
    nodule_mask: Mask | None = None
    label_maps: Mapping[str, LabelMap] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[Note, ...] = ()
    figures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    nodule_figures: tuple[Mapping[str, float], ...] = ()
    labels: Mapping[str, Label] = field(default_factory=lambda: MappingProxyType({}))
    locations: Mapping[str, NDArray[np.float64]] = field(default_factory=lambda: MappingProxyType({}))
    slice_uids: tuple[str, ...] = ()
    mark_axes: Axes = "lps"
    acquisition: Mapping[str, Label] = field(default_factory=lambda: MappingProxyType({}))

    def _repr_html_(self) -> str:
        """Show pictures, geometry and notes in a notebook."""
        # By name, and when a notebook asks: the nouns lie below everything that draws.
        shown: str = import_module("hilum.viewer.summary").scan_html(self)
        return shown
