"""Arguments and options that several commands share, each with its help."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

Flag = Annotated[bool, Parameter(negative="")]
Json = Annotated[bool, Parameter(negative="", help="Print JSON instead of text.")]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace an earlier result.")]

RunFolder = Annotated[Path, Parameter(help="An output folder of 'hilum run'.")]
ScanSource = Annotated[Path, Parameter(help="A DICOM folder, a volume file, or an archive (.zip, .tar, .tgz).")]
VolumeOut = Annotated[Path, Parameter(help="File to write: .nii, .nii.gz, .nrrd, .mha, .mhd, .npy, .zarr or .b2nd.")]
_SERIES = "If the folder holds several series: Series Instance UID, number in the list of 'hilum info', or kernel."
Series = Annotated[str, Parameter(help=_SERIES)]
_PHASE = "If a series holds several volumes at the same positions: value of the attribute that tells them apart."
Phase = Annotated[str, Parameter(help=_PHASE)]
VolumeNumber = Annotated[int | None, Parameter(help="Number of the volume in the list of 'hilum info'.")]
_MAX_GAP = "Interpolate missing DICOM slices where their neighbors are at most this far apart; 5 mm by default."
MaxGap = Annotated[float | None, Parameter(name="--max-gap-mm", help=_MAX_GAP)]
_TILT = "Shift the slices of a tilted gantry onto a straight grid; --no-tilt refuses them."
Tilt = Annotated[bool, Parameter(negative="--no-tilt", help=_TILT)]

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
FoldBy = Annotated[str, Parameter(help="Label in scan.json that gives the fold: 'fold' or 'patient_fold'.")]

PlotSource = Annotated[Path, Parameter(help="A DICOM folder, a volume file, or the folder of a finished scan.")]
PictureOut = Annotated[Path, Parameter(help="File to write: .png, .svg or .pdf.")]
Preset = Annotated[Literal["lung", "mediastinum", "soft-tissue", "bone"], Parameter(help="Window preset.")]
