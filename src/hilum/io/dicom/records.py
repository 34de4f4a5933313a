"""Records of DICOM slices, made from their headers: one per frame, one per finding, one per stack."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from hilum.geometry import Geometry
from hilum.io.dicom.luts import ModalityLut
from hilum.io.dicom.odd_values import OddValue
from hilum.io.names import safe_name

Action = Literal["refused", "mended", "dropped", "ignored", "noted"]

CHEST_EXTENT_MM = 100.0  # a chest is at least this high; lungs are 200 to 300 mm high


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """The header of one frame as written, unchecked.

    Parameters
    ----------
    path : str
        The file, relative to the folder searched, or its name.
    frame, frames : int
        Index of this frame in the file, and the number of frames in the file.
    sop_uid, series_uid, study_uid, frame_uid, modality, sop_class, transfer_syntax : str
        Empty where absent. `frame_uid` is the Frame of Reference UID.
    patient, description, comments : str
        Hashes of PatientID (PatientName where there is none), SeriesDescription and ImageComments, to compare them:
        they may hold anything. Empty where absent.
    image_type : tuple of str
        The values of ImageType.
    rows, columns, samples : int
        0 where absent (samples: 1).
    pixel_spacing : tuple of float, mm
        Row spacing, then column spacing; empty where absent or not numbers.
    position : tuple of float, (x, y, z), LPS mm
        Center of the first pixel; empty where absent or not numbers.
    shared_position : tuple of float, (x, y, z), LPS mm
        The one position of a file with several frames, of which none has its own; empty where absent.
    orientation : tuple of float
        Direction along a row, then down a column, LPS; empty where absent or not numbers.
    instance_number, acquisition_number : int or None
        As written; None without one.
    acquisition_time, content_time : str
        As written, ``HHMMSS.FFFFFF``; empty where absent.
    slice_step, slice_location : float or None, mm
        SpacingBetweenSlices and SliceLocation. The geometry comes from the positions, not from them.
    thickness : float or None, mm
        SliceThickness; not used for the geometry either.
    kernel : str
        ConvolutionKernel, its values separated by backslashes.
    kvp, temporal_position, cardiac_phase, respiratory_phase, trigger_time : str
        KVP, TemporalPositionIdentifier (or Index), NominalPercentageOfCardiacPhase, -OfRespiratoryPhase and
        TriggerTime; empty where absent.
    slope, intercept : float or None
        Stored value to Hounsfield units; None where absent, nan where it is not a number.
    rescale_type : str
        The unit of rescaled values; empty without one.
    bits_allocated, bits_stored, high_bit : int
        Bits of a word, bits in use, and the highest of them.
    signed, big_endian : bool
        Whether words are signed, and whether the high byte comes first.
    native : bool
        Whether the pixels are uncompressed (the whole data set may be deflated).
    padding, padding_limit : int or None
        Pixel Padding Value and Range Limit, with the sign of the pixels.
    smallest, largest : int or None
        Smallest and Largest Image Pixel Value of all frames of the file, with the sign of the pixels.
    lut : ModalityLut or None
        Replaces slope and intercept.
    has_overlay : bool
        Whether bits of the pixels beyond the stored ones may hold an overlay.
    pixel_offset : int
        Offset of the pixel data in the file; -1 if they cannot be read by offset.
    pixel_bytes : int
        Bytes of pixel data that are in the file; 0 for none.
    odd : tuple of OddValue
        What is not written as the standard says.
    alias : str
        Name of the file in messages if its own may not be shown, such as ``"file 2 of 9"``; may be empty.
    """

    path: str
    frame: int = 0
    frames: int = 1
    sop_uid: str = ""
    series_uid: str = ""
    study_uid: str = ""
    frame_uid: str = ""
    patient: str = ""
    description: str = ""
    comments: str = ""
    modality: str = ""
    sop_class: str = ""
    transfer_syntax: str = ""
    image_type: tuple[str, ...] = ()
    rows: int = 0
    columns: int = 0
    samples: int = 1
    pixel_spacing: tuple[float, ...] = ()
    position: tuple[float, ...] = ()
    shared_position: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()
    series_number: int | None = None
    instance_number: int | None = None
    acquisition_number: int | None = None
    acquisition_time: str = ""
    content_time: str = ""
    slice_step: float | None = None
    slice_location: float | None = None
    thickness: float | None = None
    kernel: str = ""
    kvp: str = ""
    temporal_position: str = ""
    cardiac_phase: str = ""
    respiratory_phase: str = ""
    trigger_time: str = ""
    slope: float | None = None
    intercept: float | None = None
    rescale_type: str = ""
    bits_allocated: int = 16
    bits_stored: int = 16
    high_bit: int = 15
    signed: bool = False
    big_endian: bool = False
    padding: int | None = None
    padding_limit: int | None = None
    smallest: int | None = None
    largest: int | None = None
    lut: ModalityLut | None = None
    native: bool = True
    has_overlay: bool = False
    pixel_offset: int = -1
    pixel_bytes: int = 0
    odd: tuple[OddValue, ...] = ()
    alias: str = ""

    def height_along(self, normal: Sequence[float]) -> float:
        """The position along a normal, mm."""
        return sum(p * n for p, n in zip(self.position, normal, strict=True))

    @property
    def place(self) -> tuple[float, ...]:
        """The position without the rounding of its text, to compare it."""
        return tuple([round(v, 2) for v in self.position])  # a list is faster than a generator

    @property
    def display_name(self) -> str:
        """Name of the file in messages."""
        return safe_name(self.path) or self.alias or "a file"

    @property
    def has_pixels(self) -> bool:
        """Whether the file has any pixel data."""
        return self.pixel_bytes > 0

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame."""
        return self.rows * self.columns * self.samples * self.bits_allocated // 8

    @property
    def complete(self) -> bool:
        """Whether the file has as many bytes of pixels as it declares; unknown, so True, for compressed ones."""
        return self.has_pixels and not (self.native and self.pixel_bytes < self.frame_bytes * self.frames)


@dataclass(frozen=True)
class Finding:
    """Something odd about a folder or a stack, and what is done about it.

    Parameters
    ----------
    code : str
        Short and stable, such as ``"missing-slices"``.
    text : str
        One line for the user.
    action : {"refused", "mended", "dropped", "ignored", "noted"}
        ``"refused"``: the stack is not read. ``"mended"``: voxels are interpolated.
    files : tuple of str
        The files concerned.
    """

    code: str
    text: str
    action: Action
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stack:
    """Slices that form one volume, in order, with the findings on them.

    Parameters
    ----------
    series_uid : str
        Of the series; of a series that is joined from series of one slice each, the first UID.
    slices : tuple of SliceHeader
        Ascending along the normal (row direction x column direction), one per position.
    geometry : Geometry or None
        The grid, including the planes of missing slices; None if the slices are not on a grid.
    planes : tuple of int
        The plane of the grid that each slice fills; ``range(n)`` if no slice is missing, and -1 for a slice between
        planes. The other planes are interpolated, if the stack is not refused.
    duplicates : tuple of (int, SliceHeader)
        ``(i, header)``: another slice at the position of ``slices[i]``; dropped if the pixels are the same.
    findings : tuple of Finding
        What is odd about the slices.
    places : tuple of (float, float, float), (z, y, x)
        For slices that have to be shifted within their plane, or that lie between planes: where the first pixel of each
        slice lies, in voxels of the grid. Empty for slices that fill their planes.
    series_part : str
        A made-up name of the series, where its UID does not identify it; empty elsewhere.
    told_by, value : str
        The attribute that tells this stack from the others of its series, and its value where that may be shown. Empty
        for the only stack of a series.
    """

    series_uid: str
    slices: tuple[SliceHeader, ...]
    geometry: Geometry | None = None
    planes: tuple[int, ...] = ()
    duplicates: tuple[tuple[int, SliceHeader], ...] = ()
    findings: tuple[Finding, ...] = ()
    places: tuple[tuple[float, float, float], ...] = ()
    series_part: str = ""
    told_by: str = ""
    value: str = ""

    @property
    def refusal(self) -> Finding | None:
        """The first finding that forbids reading this stack, if any."""
        return next((f for f in self.findings if f.action == "refused"), None)

    @property
    def chest_like(self) -> bool:
        """Whether the slices are axial, within 45 degrees, and cover at least `CHEST_EXTENT_MM` along their normal."""
        orientation = self.slices[0].orientation
        known = [h for h in self.slices if len(h.position) == 3 and len(h.orientation) == 6]
        if len(orientation) != 6 or not abs(normal_of(orientation)[2]) > math.sqrt(0.5) or not known:
            return False
        normal = normal_of(known[0].orientation)
        heights = [h for header in known if math.isfinite(h := header.height_along(normal))]
        return bool(heights) and max(heights) - min(heights) >= CHEST_EXTENT_MM


class FrameSelection(NamedTuple):
    """The CT slices among the frames of a folder.

    Parameters
    ----------
    slices : tuple of SliceHeader
        The headers of the slices.
    findings : tuple of Finding
        One for each kind of frame that is ignored.
    modalities : tuple of str
        Modalities of the ignored frames, except CT.
    """

    slices: tuple[SliceHeader, ...] = ()
    findings: tuple[Finding, ...] = ()
    modalities: tuple[str, ...] = ()


def normal_of(orientation: Sequence[float]) -> tuple[float, float, float]:
    """Cross product of the row and the column direction, along which slices ascend.

    Parameters
    ----------
    orientation : six floats
        Row direction, then column direction, LPS.

    Returns
    -------
    tuple of float
        Of length one if the directions are perpendicular unit vectors.
    """
    a, b, c, d, e, f = orientation
    return b * f - c * e, c * d - a * f, a * e - b * d


def heights_of(members: Sequence[SliceHeader]) -> list[float]:
    """Position of each slice along the normal of the first, mm.

    Returns
    -------
    list of float
        Empty if it is unknown for any of them.
    """
    if not members or any(len(h.position) != 3 or len(h.orientation) != 6 for h in members):
        return []
    normal = normal_of(members[0].orientation)
    heights = [h.height_along(normal) for h in members]
    return heights if all(map(math.isfinite, heights)) else []
