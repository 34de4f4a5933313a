"""A reference to a scan that was listed and not yet read, and what is known of it: its tables, its label files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.errors import HilumError
from hilum.scan import Axes, Label, Nodule, Note


@dataclass(frozen=True, eq=False)
class Marks:
    """Positions as the rows of a table give them; they become world points when the grid of their scan is known.

    Parameters
    ----------
    kind : str
        ``nodules``, or the kind of `Scan.locations` that they become.
    axes : Axes
        The axes of `centers`, and of edges in `sizes`.
    centers : ndarray, shape (n, 3)
        In the order and unit of the axes.
    sizes : ndarray, shape (n, 1) or (n, 3)
        Of nodules: diameters in mm, or the edges of boxes in the order and unit of the axes. Of other kinds: the
        fourth column of `Scan.locations`.
    scores : tuple of mapping of str to float
        Of each nodule, as in `Nodule`; empty if the table has none.
    """

    kind: str
    axes: Axes
    centers: NDArray[np.float64]
    sizes: NDArray[np.float64]
    scores: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class DatasetEntry:
    """What the tables of a data set say about one scan. The tables are read once for all scans.

    Parameters
    ----------
    annotated : bool
        Whether the data set lists nodules, for this scan or others.
    nodules : tuple of Nodule
        Those that tables give in mm, in the world.
    marks : tuple of Marks
        Further nodules and locations, in voxels of the scan.
    mark_axes : Axes
        As in `Scan`.
    labels : mapping of str to number or str
        As in `Scan`.
    locations : mapping of str to ndarray, each shape (n, 4)
        As in `Scan`.
    lungs : Path or None
        A lung mask that comes with the data set.
    notes : tuple of Note
        Oddities of the scan's rows.
    refusal : HilumError or None
        Why the scan cannot be used. It is raised when this scan is loaded, so that it does not stop the others.
    """

    annotated: bool = False
    nodules: tuple[Nodule, ...] = ()
    marks: tuple[Marks, ...] = ()
    mark_axes: Axes = "lps"
    labels: Mapping[str, Label] = field(default_factory=dict)
    locations: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    lungs: Path | None = None
    notes: tuple[Note, ...] = ()
    refusal: HilumError | None = None


LabelGrid = Literal["world", "voxels"]  # how a label map lies on its scan: by world coordinates, or voxel on voxel


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A file with labels of a scan, and what is taken from it.

    Parameters
    ----------
    path : Path or str
        The file; of a structure set or a segmentation, the DICOM file.
    kind : {"map", "rtstruct", "seg"}
        A volume of labels, a DICOM structure set, or a DICOM segmentation.
    name : str
        Of the label map that a volume becomes. Each region of the other kinds becomes a label map of its own.
    values : tuple of (str, int)
        The names of a volume's values, if something beside the file states them.
    regions : tuple of (str, str)
        For the other kinds: the name of a region in the file, and the name of the label map that it becomes.
    grid : {"world", "voxels"}, default "world"
        How a volume lies on the scan.
    xor : bool, default False
        Whether the contours of a structure set are combined by exclusive or, also where one repeats another.

    Examples
    --------
    >>> import hilum
    >>> hilum.LabelFile("lungs.nii.gz", "map", name="lungs", values=(("right", 1), ("left", 2))).grid
    'world'
    """

    path: Path
    kind: Literal["map", "rtstruct", "seg"]
    name: str = ""
    values: tuple[tuple[str, int], ...] = ()
    regions: tuple[tuple[str, str], ...] = ()
    grid: LabelGrid = "world"
    xor: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))


@dataclass(frozen=True, slots=True)
class CorrectedMask:
    """A mask of another run that a person corrected, to use instead of a new one.

    Parameters
    ----------
    run : Path
        The folder of the run beside which it was saved.
    scan_id : str
        The scan in that run.
    mask : str
        ``lungs``, ``nodules`` or ``labels/NAME``.
    path : Path
        The file.
    sha256 : str
        Of the file.
    who, when : str
        Who saved it, and when: ISO 8601, UTC.
    """

    run: Path
    scan_id: str
    mask: str
    path: Path
    sha256: str
    who: str
    when: str


@dataclass(frozen=True, slots=True, repr=False)
class ScanRef:
    """A reference to one scan: small, and enough to load it.

    Parameters
    ----------
    dataset : str
        Name of the adapter that loads it, a key of ``hilum.datasets.DATASETS``.
    scan_id : str
        Name of the scan's output folder, of the characters ``[A-Za-z0-9._-]``.
    path : Path
        The file or folder to read.
    series_uid : str
        Which series of a folder; empty if the path holds one scan.
    annotations : Path or None
        The file that lists the scan's nodules.
    known : DatasetEntry
        What the data set's tables say about it.
    files : tuple of str
        The files of the series, relative to `path`; empty if the listing opened no files.
    source : str
        Name of the input of the run that holds it; with several inputs, a name that distinguishes them.
    place : str
        `path` relative to that input, with ``/`` between its parts.
    case : str
        The case in a public data set (``LIDC-IDRI-0314``); empty elsewhere.
    uid_id : str
        The id made from the series UID, if `scan_id` was made from something else.
    label_files : tuple of LabelFile
        The files with its label maps.
    corrections : tuple of CorrectedMask
        Corrected masks of another run, from ``hilum run --corrections``.

    Examples
    --------
    >>> from pathlib import Path
    >>> import hilum
    >>> hilum.ScanRef("folder", "case-1", Path("scan")).label_files
    ()
    """

    dataset: str
    scan_id: str
    path: Path
    series_uid: str = ""
    annotations: Path | None = None
    known: DatasetEntry = field(default=DatasetEntry(), compare=False)
    files: tuple[str, ...] = field(default=(), compare=False, repr=False)
    source: str = field(default="", compare=False)
    place: str = field(default="", compare=False)
    case: str = field(default="", compare=False)
    uid_id: str = field(default="", compare=False)
    label_files: tuple[LabelFile, ...] = ()
    corrections: tuple[CorrectedMask, ...] = ()

    def __repr__(self) -> str:
        """Without paths: folders can bear a patient's name."""
        return f"ScanRef({self.dataset!r}, {self.scan_id!r})"
