"""A scan with its nodules, label maps and notes."""

import copyreg
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from hilum.errors import AnnotationError, GeometryError, InputError
from hilum.geometry import Geometry, Vector
from hilum.volume import Mask, Volume

RIGHT_LUNG, LEFT_LUNG, AIRWAYS = 1, 2, 3
"""Labels of a lung mask. The patient's right is where LPS x is smaller. Airways are labeled only on request."""

SIDE_NAMES: Mapping[int, str] = MappingProxyType({RIGHT_LUNG: "right lung", LEFT_LUNG: "left lung"})
LUNG_NAMES: Mapping[int, str] = MappingProxyType({**SIDE_NAMES, AIRWAYS: "airways"})
"""The names of these labels in a `Mask`, without and with the airways."""

BOTH_LUNGS: Mapping[int, str] = MappingProxyType({1: "lungs"})
"""The name in a mask that does not separate the sides."""

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

    Examples
    --------
    >>> import hilum
    >>> print(hilum.Note("padding-to-air", "3 % of the voxels were padding"))
    padding-to-air: 3 % of the voxels were padding
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


@dataclass(frozen=True, eq=False, repr=False)
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

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> grid = hilum.Geometry((3, 20, 20), (2.0, 1.0, 1.0))
    >>> square = np.array([[4.0, 4.0, 2.0], [10.0, 4.0, 2.0], [10.0, 10.0, 2.0], [4.0, 10.0, 2.0]])
    >>> hilum.Reading(1, grid, (square,), scores={"malignancy": 4}).contours[0].shape
    (4, 3)
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

    def __repr__(self) -> str:
        return f"Reading(reader={self.reader}, {_count(self.contours, 'contour')}, {_count(self.holes, 'hole')})"

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild through the constructor, so that the outlines of an unpickled copy are read-only too."""
        return Reading, (self.reader, self.grid, self.contours, self.holes, self.scores)


def _outline(points: NDArray[np.float64]) -> NDArray[np.float64]:
    copy = np.array(points, np.float64)
    if copy.ndim != 2 or copy.shape[1] != 3 or not len(copy) or not np.isfinite(copy).all():
        raise AnnotationError(f"an outline of shape {copy.shape} is not a list of finite (x, y, z) points in mm")
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, eq=False, repr=False)
class Nodule:
    """A nodule in the patient's space, independent of any grid.

    Parameters
    ----------
    center : tuple of float, (x, y, z), LPS mm
        Its middle, wherever the grid of a scan lies.
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

    Examples
    --------
    >>> import hilum
    >>> nodule = hilum.Nodule((60.0, -12.5, -140.0), diameter_mm=7.5)
    >>> hilum.Geometry((100, 200, 200), (2.5, 1.5, 1.5), (-150.0, -150.0, -250.0)).world_to_index(nodule.center)
    array([ 44.        ,  91.66666667, 140.        ])
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

    def __repr__(self) -> str:
        center = ", ".join(f"{v:.6g}" for v in self.center)
        readings = f", {_count(self.readings, 'reading')}" if self.readings else ""
        scores = "".join(f", {name}={score:.3g}" for name, score in self.scores.items())
        return f"Nodule(center=({center}), diameter_mm={self.diameter_mm:.4g}{readings}{scores})"


@dataclass(frozen=True, eq=False, repr=False)
class LabelMap:
    """A mask whose values have names: lobes, a tumor, lungs that somebody outlined.

    Parameters
    ----------
    mask : Mask
        On any grid in the world; it need not be the scan's. A mask without names takes those of `values`.
    values : mapping of str to int
        The value of each name, 1 to 255.

    Raises
    ------
    AnnotationError
        If a value is out of range or has two names.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> mask = hilum.Mask.from_array(np.ones((4, 4, 4)), spacing=(1.0, 1.0, 1.0))
    >>> hilum.LabelMap(mask, {"tumor": 1})
    LabelMap({'tumor': 1}, shape=(4, 4, 4), spacing=(1, 1, 1) mm, origin=(0, 0, 0), axes=SPL)
    """

    mask: Mask
    values: Mapping[str, int]

    def __post_init__(self) -> None:
        values = list(self.values.values())
        if len(set(values)) != len(values) or not all(1 <= value <= 255 for value in values):
            raise AnnotationError(f"the values {values} of a label map are not different numbers from 1 to 255")
        if not self.mask.names:
            names = {value: name for name, value in self.values.items()}
            object.__setattr__(self, "mask", replace(self.mask, names=names))

    def __repr__(self) -> str:
        names = ", ".join(f"{name!r}: {value}" for name, value in self.values.items())
        return f"LabelMap({{{names}}}, shape={self.mask.shape}, {self.mask.geometry.place})"


@dataclass(frozen=True, eq=False, repr=False)
class Scan:
    """One CT scan with its masks, nodules, notes and measurements.

    Parameters
    ----------
    series_uid : str
        The DICOM Series Instance UID. Without one: the file's stem if it cannot identify a patient, or a made-up name.
    ct : Volume
        int16 Hounsfield units on the scan's own grid.
    nodules : tuple of Nodule
        Those that annotations list, in the order of the table; by default none.
    annotated : bool, default False
        Whether the scan was searched for nodules. Only then does an empty `nodules` mean that there are none.
    lungs : Mask or None
        Labels `RIGHT_LUNG` and `LEFT_LUNG`, on the grid of `ct`.
    nodule_mask : Mask or None
        Labels 1, 2, ... in the order of `nodules`, on the grid of `ct`.
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

    Raises
    ------
    InputError
        If the CT is no volume, or one of the masks is no mask.
    GeometryError
        If a mask lies on another grid than the CT.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> scan.ct.shape, len(scan.nodules), scan.acquisition["kernel"]
    ((48, 96, 96), 5, 'STANDARD')
    >>> import dataclasses
    >>> dataclasses.replace(scan, lungs=hilum.segment_lungs(scan)).lungs.shape
    (48, 96, 96)
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

    def __post_init__(self) -> None:
        _check_type("ct", self.ct, Volume)
        for name, mask in (("lungs", self.lungs), ("nodule_mask", self.nodule_mask)):
            if mask is not None:
                _check_type(name, mask, Mask)
                _check_grid(name, mask.geometry, self.ct.geometry)

    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn:
        """Refuse: numpy would make an array with the scan as its only entry."""
        raise InputError("a scan is no array", do="its CT is one: np.asarray(scan.ct)", code="type")

    def __repr__(self) -> str:
        nodules = _count(self.nodules, "nodule") if self.annotated or self.nodules else "not annotated"
        masks = [name for name in ("lungs", "nodule_mask") if getattr(self, name) is not None]
        notes = [_count(self.notes, "note")] if self.notes else []
        parts = ", ".join([nodules, *masks, *self.label_maps, *notes])
        return f"Scan({self.series_uid!r}, {self.ct.dtype}, shape={self.ct.shape}, {self.ct.geometry.place}, {parts})"

    def _repr_html_(self) -> str:
        """Show pictures, geometry and notes in a notebook."""
        # By name, and when a notebook asks: the nouns lie below everything that draws.
        shown: str = import_module("hilum.viewer.summary").scan_html(self)
        return shown


def _check_type(name: str, value: object, kind: type[Volume]) -> None:
    if not isinstance(value, kind):
        do = f"hilum.{kind.__name__}.from_array(array, spacing=(z, y, x)) makes one"
        raise InputError(f"{name} of a scan is a hilum.{kind.__name__}, not {type(value).__name__}", do=do, code="type")


def _check_grid(name: str, grid: Geometry, of_ct: Geometry) -> None:
    """Refuse a mask on another grid than the CT."""
    if grid != of_ct and not grid.isclose(of_ct):
        own, other = (one.shape if grid.shape != of_ct.shape else one.place for one in (grid, of_ct))
        what = f"{name} lies on another grid than the ct: {own}, not {other}"
        raise GeometryError(what, do="hilum.resample(mask, like=scan.ct)", code="grid")


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}" + "s" * (len(things) != 1)
