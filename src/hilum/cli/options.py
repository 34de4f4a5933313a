"""Arguments and options that several commands share, each with its help."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, Token

if TYPE_CHECKING:
    from hilum.io.annotations.table_rows import TableColumns

Flag = Annotated[bool, Parameter(negative="")]
Json = Annotated[bool, Parameter(negative="", help="Print JSON instead of text.")]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace an earlier result.")]

Out = Annotated[Path, Parameter(alias="-o")]
OutOrNone = Annotated[Path | None, Parameter(alias="-o")]
RunFolder = Annotated[Path, Parameter(help="An output folder of 'hilum run'.")]
ScanSource = Annotated[Path, Parameter(help="A DICOM folder, a volume file, or an archive (.zip, .tar, .tgz).")]
_VOLUME = "File to write: .nii, .nii.gz, .nrrd, .mha, .mhd, .npy, .zarr or .b2nd."
VolumeOut = Annotated[Path, Parameter(alias="-o", help=_VOLUME)]
_LABELS = (
    "Label maps of the scans: a folder, or a pattern of file names with * for the name of the scan, such as "
    "'*_seg.nii.gz'; NAME=... names the label map. May be repeated."
)
Labels = Annotated[tuple[str, ...], Parameter(help=_LABELS, negative="", n_tokens=1)]
ViewLabels = Annotated[tuple[str, ...], Parameter(name=("--labels", "--mask"), negative="", n_tokens=1)]
Regions = Annotated[list[str] | None, Parameter(negative="")]
HostNames = Annotated[tuple[str, ...], Parameter(negative="", n_tokens=1)]
Browser = Annotated[bool, Parameter(negative="--no-browser")]
_SERIES = "If the folder holds several series: Series Instance UID, number in the list of 'hilum info', or kernel."
Series = Annotated[str, Parameter(help=_SERIES)]
_PHASE = "If a series holds several volumes at the same positions: value of the attribute that tells them apart."
Phase = Annotated[str, Parameter(help=_PHASE)]
VolumeNumber = Annotated[int | None, Parameter(help="Number of the volume in the list of 'hilum info'.")]
_MAX_GAP = "Interpolate missing DICOM slices where their neighbors are at most this far apart; 5 mm by default."
MaxGap = Annotated[float | None, Parameter(name="--max-gap-mm", help=_MAX_GAP)]
_TILT = "Shift the slices of a tilted gantry onto a straight grid; --no-tilt refuses them."
Tilt = Annotated[bool, Parameter(negative="--no-tilt", help=_TILT)]
TiltOverride = Annotated[bool | None, Parameter(negative="--no-tilt", help=f"{_TILT} By default as in the recipe.")]


def _check_method(_type: object, method: str) -> None:
    from hilum.ops.lungs.segment import METHODS, MODEL

    if method not in METHODS and not method.startswith(MODEL):
        raise ValueError(f"expected one of {', '.join(METHODS)}, {MODEL}PATH")


Method = Annotated[str, Parameter(validator=_check_method)]


def _slope_and_intercept(_type: object, tokens: Sequence[Token]) -> tuple[float, ...]:
    numbers = tuple(map(float, tokens[0].value.split(",")))
    if len(numbers) != 2:
        raise ValueError("expected SLOPE,INTERCEPT")
    return numbers


_RESCALE = "Slope and intercept from stored values to HU, instead of the file's, for example 1,-1024."
_HU_OFFSET = "HU to add to every value, for example -1024 for a scan whose intercept was lost."
_PAIR = Parameter(
    help=_RESCALE, converter=_slope_and_intercept, n_tokens=1, metavar="SLOPE,INTERCEPT", negative="",
    allow_leading_hyphen=True,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ValueOptions:
    """What the user states about the values of a scan."""

    rescale: Annotated[tuple[float, float] | None, _PAIR] = None
    hu_offset: Annotated[float | None, Parameter(help=_HU_OFFSET)] = None


Values = Annotated[ValueOptions | None, Parameter(name="*")]

_COLUMNS = "Columns of the table, as id=NAME,x=NAME,y=NAME,z=NAME,diameter=NAME; see docs/tables.md."
_AXES = "Axes of the table's columns x, y, z: mm in the patient, or voxels of the scan's own grid, from 0."
_ID_MAP = "A CSV file with the columns id and scan: ids of the table, and names or series UIDs of their scans."
_DIAMETER = "Diameter in mm of every nodule of a table without sizes."


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What the user states about a table of nodules."""

    columns: Annotated[str | None, Parameter(help=_COLUMNS)] = None
    axes: Annotated[Literal["lps", "ras", "voxel-xyz", "voxel-zyx"] | None, Parameter(help=_AXES)] = None
    id_map: Annotated[Path | None, Parameter(help=_ID_MAP)] = None
    diameter_mm: Annotated[float | None, Parameter(help=_DIAMETER)] = None


def table_columns(options: TableOptions | None) -> "TableColumns | None":
    """The options of a table as `hilum.read` takes them; None without any."""
    if options is None or options == TableOptions():
        return None
    from hilum.io.annotations.table_rows import TableColumns, parse_columns

    named = parse_columns(options.columns) if options.columns else TableColumns()
    return replace(named, axes=options.axes or "", id_map=options.id_map, diameter_mm=options.diameter_mm)


Table = Annotated[TableOptions | None, Parameter(name="*")]

_FORMATS = Literal["nifti", "npy", "zarr", "b2nd"]
Format = Annotated[_FORMATS, Parameter(name="--format", help="Format of volumes and masks.")]
_OVERRIDE = Parameter(name="--format", help="Format of volumes and masks, instead of the recipe's.")
FormatOverride = Annotated[_FORMATS | None, _OVERRIDE]
_WORKERS = "Scans to process at the same time, each in its own process; 0 for one per core if memory allows."
Workers = Annotated[int, Parameter(help=_WORKERS)]
TimeoutMinutes = Annotated[float, Parameter(help="Minutes allowed for one scan; 0 for no limit.")]
_MEMORY = "GB of memory allowed for one scan; 0 to share the free memory equally."
MemoryGigabytes = Annotated[float, Parameter(help=_MEMORY)]

_CONSENSUS = "Fraction of a nodule's readers who must include a voxel: above 0, at most 1."
Consensus = Annotated[float, Parameter(help=_CONSENSUS)]
MinReaders = Annotated[int, Parameter(help="Leave out nodules that fewer readers outlined.")]
FoldBy = Annotated[
    str,
    Parameter(
        help="Label in scan.json that gives the fold: 'fold' or 'patient_fold'. Folds of 'hilum folds' come first."
    ),
]

PlotSource = Annotated[Path, Parameter(help="A DICOM folder, a volume file, or the folder of a finished scan.")]
PictureOut = Annotated[Path, Parameter(alias="-o", help="File to write: .png, .svg or .pdf.")]
Preset = Annotated[Literal["lung", "mediastinum", "soft-tissue", "bone"], Parameter(help="Window preset.")]
