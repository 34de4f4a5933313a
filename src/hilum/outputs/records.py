"""The JSON records of nodules, files, finished scans and data sets."""

import re

import msgspec

from hilum.io.volumes.placement import GridRecord

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


def is_plain_name(name: str, *, max_parts: int = 1) -> bool:
    """Check that a name in a record cannot point outside its folder.

    Parameters
    ----------
    name : str
        The name as the record states it.
    max_parts : int
        The number of parts, separated by ``/``, that it may have.

    Returns
    -------
    bool
    """
    parts = name.split("/")
    return len(parts) <= max_parts and all(_PART.fullmatch(part) for part in parts)


def json_bytes(value: object) -> bytes:
    """Encode a value as indented JSON, which people can read too.

    Parameters
    ----------
    value : object
        A record, or anything else that msgspec encodes.

    Returns
    -------
    bytes
        With a line break at the end.
    """
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"


class NoduleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A nodule, and how precisely the stored file reproduces its position.

    ``label`` is its value in the mask. ``world`` is its center (x, y, z) in LPS mm, ``voxel`` the same as a fractional
    index (z, y, x) of the stored grid, ``source_voxel`` of the grid that was read. ``inside``: the center lies in the
    stored grid. ``round_trip_mm`` is the distance between ``world`` and the position that the stored file gives for
    ``voxel``. ``mean_hu`` and ``inside_lungs`` (a fraction) are measured over the nodule's ``voxels`` in the mask, if
    it has any. ``readers`` is the number of radiologists who outlined it, 0 if only a sphere is known; ``agreement``
    is the mean Dice coefficient of their pairs, ``scores`` their mean ratings.
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


class LabelMapRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A label map of a scan: the value of each label, and its volume in ml on the stored grid."""

    values: dict[str, int]
    volumes_ml: dict[str, float] = {}


class ScanRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``scan.json``.

    ``labels`` come from its data set, such as fold or cancer. ``parts`` are the parts it has: ``ct``, ``lungs``,
    ``nodules``, ``preview``, kinds of locations such as ``candidates``, and ``labels/NAME`` for each of its
    ``label_maps``. ``input_sha256`` names the content of its image files, whatever their names; older versions have
    none. ``acquisition`` holds what the DICOM headers of all slices agree on: ``kernel`` (ConvolutionKernel,
    if it is a known one) and ``slice_thickness_mm`` (SliceThickness); it is empty for volume files and older versions.
    """

    scan_id: str
    series_uid: str
    dataset: str = ""
    labels: dict[str, int | float | str] = {}
    version: str
    recipe: str
    recipe_sha256: str
    fingerprint: str
    input_sha256: str = ""
    unit: str
    geometry: GridRecord
    source_geometry: GridRecord
    nodules: list[NoduleRecord]
    notes: list[dict[str, str]]
    figures: dict[str, float]
    files: dict[str, FileRecord]
    parts: list[str] = []
    acquisition: dict[str, int | float | str] = {}
    label_maps: dict[str, LabelMapRecord] = {}

    def __post_init__(self) -> None:
        """Refuse names that could point outside the scan's folder, and notes without a code or a text."""
        if not is_plain_name(self.scan_id):
            raise ValueError("scan_id is not a plain name")
        if not all(is_plain_name(name, max_parts=12) for name in self.files):
            raise ValueError("files names something outside the scan's folder")
        if not all(is_plain_name(name) for name in self.label_maps):
            raise ValueError("label_maps has a name that is no plain name")
        if not all(note.keys() >= {"code", "text"} for note in self.notes):
            raise ValueError("a note has no code or no text")


class TableRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One csv of a data set: how many of its rows belong to a scan of the input, and the series of the others."""

    name: str
    rows: int
    rows_of_scans: int
    rows_without_scan: int
    series_without_scan: dict[str, int]
    scans_without_rows: list[str]


class DatasetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a data set's scans and nodules in a run; only nodules of finished scans count.

    ``nodules`` are annotated. ``landed`` of them have their center in the stored volume. ``inside_lungs`` have at
    least half of their voxels in the lung mask; it is null without a mask. ``largest_round_trip_mm`` is the worst.
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
    """Check whether nodules were looked for in a finished scan.

    Parameters
    ----------
    record : ScanRecord
        What ``scan.json`` says.

    Returns
    -------
    bool
    """
    drawn = any(name.startswith("nodules.") for name in record.files)
    return drawn or bool(record.nodules) or any(note["code"] in {"no-nodules", "few-readers"} for note in record.notes)
