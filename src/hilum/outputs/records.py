"""The form of what hilum says in JSON of grids, nodules, files and finished scans."""

from __future__ import annotations

import re

import msgspec

from hilum.io.volumes.placement import GridRecord  # noqa: TC001 - msgspec reads the types of fields

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")

_DEEPEST = 12


def is_plain_name(name: str, *, max_parts: int = 1) -> bool:
    """Whether a name from a record can only be that of something inside the folder it is looked up in.

    Parameters
    ----------
    name : str
    max_parts : int
        Parts, separated by ``/``, that it may have.

    Returns
    -------
    bool
    """
    parts = name.split("/")
    return len(parts) <= max_parts and all(_PART.fullmatch(part) for part in parts)


class NoduleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A nodule, and the proof that it is where the annotation says.

    Its value in the mask; its center in the world (x, y, z), LPS mm, as a fractional voxel (z, y, x) of the stored
    grid, and of the grid that the scan was read on; whether the center lies in the stored grid. ``round_trip_mm`` is
    the distance between the world center and the place where the stored file itself puts that voxel. ``mean_hu`` and
    ``inside_lungs`` (a share from 0 to 1) are over the nodule's ``voxels`` in the mask, where there are any.
    ``readers`` outlined it, 0 where only a sphere is known; ``agreement`` is the mean Dice coefficient of their pairs;
    ``scores`` are their mean ratings.
    """

    label: int
    world: tuple[float, float, float]
    voxel: tuple[float, float, float]
    source_voxel: tuple[float, float, float]
    round_trip_mm: float
    diameter_mm: float
    inside: bool
    voxels: int = 0
    mean_hu: float | None = None
    inside_lungs: float | None = None
    readers: int = 0
    agreement: float | None = None
    scores: dict[str, float] = {}


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Size and SHA-256 of one file of a finished scan."""

    bytes: int
    sha256: str


class ScanRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that ``scan.json`` says of a finished scan.

    ``labels`` is what its data set says, such as fold or cancer; ``parts`` is what the recipe promised of it: ``ct``,
    ``lungs``, ``nodules``, ``preview``, ``candidates``, ``excluded``. ``acquisition`` is what the DICOM headers of all
    its slices say of how it was made: ``kernel`` (ConvolutionKernel, where it is one that scanners have),
    ``slice_thickness_mm`` (SliceThickness); empty for volume files and for scans of older versions.
    """

    scan_id: str
    series_uid: str
    dataset: str = ""
    labels: dict[str, int | float | str] = {}
    version: str
    recipe: str
    recipe_sha256: str
    fingerprint: str
    unit: str
    geometry: GridRecord
    source_geometry: GridRecord
    nodules: list[NoduleRecord]
    notes: list[dict[str, str]]
    figures: dict[str, float]
    files: dict[str, FileRecord]
    parts: list[str] = []
    acquisition: dict[str, int | float | str] = {}

    def __post_init__(self) -> None:
        """Refuse names that could lead out of the scan's folder."""
        if not is_plain_name(self.scan_id):
            raise ValueError("scan_id is not a plain name")
        if not all(is_plain_name(name, max_parts=_DEEPEST) for name in self.files):
            raise ValueError("files names something outside the scan's folder")


class PanelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One picture of a scan's ``preview.png``: what it shows, and where in the file it lies, in pixels.

    ``plane`` is ``coronal``, ``axial`` or ``nodule`` (an axial close-up of nodule number ``nodule``); ``place`` is the
    slice, counted from the front (``coronal``) or the feet.
    """

    plane: str
    left: int
    top: int
    width: int
    height: int
    place: int
    nodule: int = 0


class PreviewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A scan's ``preview.json``: what ``preview.png`` shows, and how often its voxels have which HU.

    ``counts`` are of steps of ``hu_step`` from ``hu_from``; ``below`` and ``above`` are what lies beyond them. The
    ``percentiles`` are of single HU. ``cut`` are the HU beyond which the recipe cut off values before.
    """

    width: int
    height: int
    panels: list[PanelRecord]
    hu_from: int
    hu_step: int
    counts: list[int]
    below: int
    above: int
    percentiles: dict[str, float]
    cut: tuple[float, float] | None = None


class TableRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One csv of a data set: how many of its rows belong to a scan that is there, and to which series the others."""

    name: str
    rows: int
    rows_of_scans: int
    rows_without_scan: int
    series_without_scan: dict[str, int]
    scans_without_rows: list[str]


class DatasetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a data set's nodules in a run; only finished scans have nodules that are counted here.

    ``nodules`` were annotated, ``landed`` have their center in the stored volume, ``inside_lungs`` at least half of
    their voxels in the lung mask (null where no mask was made); ``largest_round_trip_mm`` is the worst of them.
    """

    dataset: str
    scans: int
    finished: int
    scans_with_nodules: int
    nodules: int
    landed: int
    inside_lungs: int | None
    largest_round_trip_mm: float
    folds: dict[str, int] = {}
    tables: list[TableRecord] = []
    notes: list[str] = []


def is_annotated(record: ScanRecord) -> bool:
    """Whether somebody looked for nodules in a finished scan.

    Parameters
    ----------
    record : ScanRecord

    Returns
    -------
    bool
    """
    drawn = any(name.startswith("nodules.") for name in record.files)
    return drawn or bool(record.nodules) or any(note["code"] == "no-nodules" for note in record.notes)
