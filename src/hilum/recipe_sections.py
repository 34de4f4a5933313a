"""The sections of a recipe, one per step, and how their values are checked.

Defaults of the domain stand only here and in `hilum.recipes`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from hilum.errors import RecipeError, name_type, one_line

Converted = TypeVar("Converted", bound=Struct)

_LUNG_METHOD = r"^(hilum|tutorial3d|tutorial2d|none|onnx:[^\x00-\x1f\x7f]{1,4000})$"

Hounsfield = Annotated[float, Meta(ge=-32768, le=32767)]


class Read(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How scans are read.

    ``max_gap_mm`` is the largest distance between two neighboring slices across which missing slices are interpolated
    linearly; the scan gets a note. A series with a wider gap is refused. 0 refuses every gap. ``tilt``: ``correct``
    shifts the slices of a tilted gantry onto a straight grid, ``refuse`` refuses them. ``rescale`` is the slope and
    intercept from stored values to Hounsfield units, empty for those of each file. ``hu_offset`` is added to every
    value.
    """

    max_gap_mm: Annotated[float, Meta(ge=0, le=100)] = 5.0
    tilt: Literal["correct", "refuse"] = "correct"
    rescale: tuple[float, ...] = ()
    hu_offset: Annotated[float, Meta(ge=-1e6, le=1e6)] = 0.0

    def __post_init__(self) -> None:
        """Check the range here, as in `Resample`."""
        pair = self.rescale
        if pair and not (len(pair) == 2 and pair[0] != 0 and all(abs(number) <= 1e6 for number in pair)):
            what = f"read.rescale is {list(pair)}, expected a slope that is not 0 and an intercept, up to 1e+06"
            raise RecipeError(what)


class Orient(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the array axes lie in the patient.

    ``axes``: ``patient`` makes z, y, x run to head, back and left; ``keep`` leaves the axes as they are.
    """

    axes: Literal["patient", "keep"] = "patient"


class Resample(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The grid of the output.

    ``grid``: ``center`` keeps the center of the scan and uses exactly ``spacing_mm``; ``corner`` does what
    ``scipy.ndimage.zoom`` does; ``native`` keeps the scan's own grid. ``spacing_mm`` is one number, or one each for
    (z, y, x). ``order`` is the interpolation: 3 cubic B-spline, 1 linear, 0 nearest voxel. ``antialias``: ``auto``
    smooths along axes on which voxels become larger than 1 mm and than two old ones; ``off`` never does.
    """

    grid: Literal["center", "corner", "native"] = "center"
    spacing_mm: float | tuple[float, float, float] = 1.0
    order: Literal[0, 1, 3] = 3
    antialias: Literal["auto", "off"] = "auto"

    def __post_init__(self) -> None:
        """Check the range here: msgspec 0.22 reads invalid memory for a bounded float next to a tuple."""
        values = self.spacing_mm if isinstance(self.spacing_mm, tuple) else (self.spacing_mm,)
        if not all(0 < value <= 100 for value in values):
            raise RecipeError(f"resample.spacing_mm is {self.spacing_mm}, expected more than 0 and at most 100.0")

    @property
    def may_smooth(self) -> bool:
        """Whether there are scans that `antialias` changes."""
        coarsest = max(self.spacing_mm) if isinstance(self.spacing_mm, tuple) else self.spacing_mm
        return self.antialias == "auto" and self.grid == "center" and self.order != 0 and coarsest > 1


class Lungs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the lungs are segmented.

    ``method``: ``hilum``, ``tutorial3d``, ``tutorial2d``, ``onnx:PATH`` for a model, ``none`` for no mask. ``fill``
    includes vessels and nodules inside the lungs. ``dilate_mm`` dilates the mask. ``fallback`` tries other settings if
    the mask is probably wrong; the scan gets a note.

    Only for the method ``hilum``: ``pathology`` includes or excludes ground-glass; ``airways`` labels
    trachea and main bronchi 3. Only for ``tutorial3d``: ``background`` is the air connected to the first voxel
    (``corner``) or to any side of the planes (``sides``).
    """

    method: Annotated[str, Meta(pattern=_LUNG_METHOD)] = "hilum"
    fill: bool = True
    dilate_mm: Annotated[float, Meta(ge=0, le=50)] = 0.0
    pathology: Literal["include", "exclude"] = "include"
    airways: bool = False
    background: Literal["corner", "sides"] = "corner"
    fallback: bool = True

    def __post_init__(self) -> None:
        """Refuse options that the method does not have."""
        if self.method != "hilum" and (self.pathology != "include" or self.airways):
            raise RecipeError(f"lungs.pathology and lungs.airways need the method hilum, not {self.method}")
        if self.method != "tutorial3d" and self.background != "corner":
            raise RecipeError(f"lungs.background needs the method tutorial3d, not {self.method}")


class Nodules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How nodules are drawn into a mask.

    ``mask`` turns masks on for scans with annotations. ``min_readers`` leaves out nodules that fewer readers outlined;
    it does not apply to nodules without outlines. ``consensus`` is the fraction of a nodule's readers who must include
    a voxel. ``contour_pixel`` says whether the pixels on an outline belong to the nodule: LIDC-IDRI's readers drew just
    outside of it.
    """

    mask: bool = True
    min_readers: Annotated[int, Meta(ge=1, le=16)] = 1
    consensus: Annotated[float, Meta(gt=0, le=1)] = 0.5
    contour_pixel: Literal["exclude", "include"] = "exclude"


class Labels(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How label maps that come with a scan are brought to the output's grid.

    ``order``: 1 fills the voxels of which a label covers most, as many as its volume needs; 0 takes the label at each
    voxel's center.
    """

    order: Literal[0, 1] = 1


class Intensity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gray values of the output.

    ``output``: ``hu`` writes Hounsfield units as int16; ``unit`` maps ``lower`` to ``upper`` HU to 0 to 1, subtracts
    ``mean``, and writes float32.
    """

    output: Literal["hu", "unit"] = "hu"
    lower: Hounsfield = -1000.0
    upper: Hounsfield = 400.0
    mean: Annotated[float, Meta(ge=-1, le=1)] = 0.0


class Quality(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to a scan with an alarm, a note that says that its data are probably wrong.

    ``alarms``: ``keep`` stores the scan, ``refuse`` does not.
    """

    alarms: Literal["keep", "refuse"] = "keep"


class Output(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The files of the output.

    ``format`` is the file format of volumes and masks. ``series_uid``: ``keep`` writes the Series Instance UID;
    ``hash`` writes a UID computed from it with SHA-256 instead. Equal series get equal hashes, and anybody who has the
    original UID can recognize its hash.
    """

    format: Literal["nifti", "npy", "zarr", "b2nd"] = "nifti"
    series_uid: Literal["keep", "hash"] = "keep"


class Compute(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``workers`` is the number of threads for one scan, 0 for one per core. It does not change the result."""

    workers: Annotated[int, Meta(ge=0, le=1024)] = 0


class Sections(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a recipe; `hilum.recipes.Recipe` adds what checks them."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "default"
    read: Read = Read()
    orient: Orient = Orient()
    resample: Resample = Resample()
    lungs: Lungs = Lungs()
    nodules: Nodules = Nodules()
    labels: Labels = Labels()
    intensity: Intensity = Intensity()
    quality: Quality = Quality()
    output: Output = Output()
    compute: Compute = Compute()


def convert(values: dict[str, Any], kind: type[Converted], where: str | Path) -> Converted:
    """Check the values of a recipe, which errors call `where`, and make what holds them."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as problem:
        raise refusal(problem, where) from None


def refusal(problem: Exception, where: str | Path) -> RecipeError:
    """Describe a problem in a recipe as an error."""
    return RecipeError(one_line(problem, limit=150), where=where, do="see 'hilum recipe show default' for every option")


def plain_values(values: Any) -> Any:
    """Values as TOML has them: mappings, lists and plain numbers."""
    try:
        return msgspec.to_builtins(values, enc_hook=_plain)
    except TypeError as problem:
        raise refusal(problem, "recipe") from None


def _plain(value: Any) -> Any:
    """Mappings, and the numbers and arrays of numpy."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{name_type(value)} is no value of a recipe")
