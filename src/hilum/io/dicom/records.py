"""What is known of DICOM slices by their headers: a record per frame, a finding per oddity, a verdict per stack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from hilum.io.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hilum.geometry import Geometry

Action = Literal["refused", "mended", "dropped", "ignored", "noted"]

CHEST_EXTENT_MM = 100.0
"""A stack of axial slices that covers at least this much can be a chest; lungs are 200 to 300 mm high."""


class ModalityLut(NamedTuple):
    """A table that maps stored values to other units (PS3.3 C.11.1).

    Parameters
    ----------
    kind : str
        Modality LUT Type: ``"HU"`` for Hounsfield units, ``"US"`` for unspecified ones.
    first : int
        The stored value that the first entry maps.
    table : bytes
        Entries as int32 in the machine's own byte order; empty for a table that is none.
    """

    kind: str
    first: int
    table: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """What one frame's header says, as written: nothing checked, nothing guessed.

    Parameters
    ----------
    path : str
        The file, relative to the folder searched, or its name.
    frame, frames : int
        Index of this frame in the file, and how many the file holds.
    sop_uid, series_uid, modality, sop_class, transfer_syntax : str
        Empty where absent.
    image_type : tuple of str
    rows, columns, samples : int
        0 where absent (samples: 1).
    pixel_spacing : tuple of float, mm
        Row spacing, then column spacing; empty where absent or not numbers.
    position : tuple of float, (x, y, z), LPS mm
        Center of the first pixel; empty where absent or not numbers.
    orientation : tuple of float
        Direction along a row, then down a column, LPS; empty where absent or not numbers.
    instance_number, acquisition_number : int or None
    acquisition_time, content_time : str
        As written, ``HHMMSS.FFFFFF``; empty where absent.
    slice_step, slice_location : float or None, mm
        SpacingBetweenSlices and SliceLocation, which decide nothing: positions do.
    thickness : float or None, mm
        SliceThickness, which decides nothing either.
    kernel : str
        ConvolutionKernel, its values separated by backslashes.
    slope, intercept : float or None
        Stored value to Hounsfield units; None where absent, nan where it is no number.
    rescale_type : str
    bits_allocated, bits_stored, high_bit : int
    signed, big_endian : bool
    native : bool
        Whether the pixels are stored uncompressed (they may be deflated as a whole).
    padding, padding_limit : int or None
        Pixel Padding Value and Range Limit, sign as the pixels have it.
    smallest, largest : int or None
        Smallest and Largest Image Pixel Value, of all frames of the file; sign as the pixels have it.
    lut : ModalityLut or None
        In place of slope and intercept.
    pixel_offset : int
        Where the pixel data's value starts in the file; -1 where it cannot be read by offset.
    pixel_bytes : int
        Bytes of pixel data that the file really holds; 0 for none.
    place : str
        What a message calls the file where its name may not be shown; empty where that was not counted.
    """

    path: str
    frame: int = 0
    frames: int = 1
    sop_uid: str = ""
    series_uid: str = ""
    modality: str = ""
    sop_class: str = ""
    transfer_syntax: str = ""
    image_type: tuple[str, ...] = ()
    rows: int = 0
    columns: int = 0
    samples: int = 1
    pixel_spacing: tuple[float, ...] = ()
    position: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()
    instance_number: int | None = None
    acquisition_number: int | None = None
    acquisition_time: str = ""
    content_time: str = ""
    slice_step: float | None = None
    slice_location: float | None = None
    thickness: float | None = None
    kernel: str = ""
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
    pixel_offset: int = -1
    pixel_bytes: int = 0
    place: str = ""

    @property
    def shown(self) -> str:
        """What a message calls the file."""
        return safe_name(self.path) or self.place or "a file"

    @property
    def has_pixels(self) -> bool:
        """Whether any pixel data are there."""
        return self.pixel_bytes > 0

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame."""
        return self.rows * self.columns * self.samples * self.bits_allocated // 8

    @property
    def whole(self) -> bool:
        """Whether the file holds as many bytes of pixels as it declares; compressed ones tell only when decoded."""
        return self.has_pixels and not (self.native and self.pixel_bytes < self.frame_bytes * self.frames)


@dataclass(frozen=True)
class Finding:
    """One oddity of a folder or a stack, and what is done about it.

    Parameters
    ----------
    code : str
        Short and stable: ``"missing-slices"``.
    text : str
        One line for a person.
    action : {"refused", "mended", "dropped", "ignored", "noted"}
        ``"refused"`` stops the stack from being read; ``"mended"`` makes voxels that no file holds.
    files : tuple of str
        The files concerned.
    """

    code: str
    text: str
    action: Action
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stack:
    """Slices that belong together, ordered, with the verdict on them.

    Parameters
    ----------
    series_uid : str
    slices : tuple of Header
        Ascending along the normal (row direction x column direction), one per position.
    geometry : Geometry or None
        The grid; with missing slices the whole grid, gaps included; None where there is none.
    slots : tuple of int
        The place of each slice in that grid; ``range(n)`` where nothing is missing. Places that are not in it
        are interpolated, if the stack is not refused.
    copies : tuple of (int, Header)
        Further slices at the place of ``slices[i]``: droppable if the pixels are the same.
    findings : tuple of Finding
    """

    series_uid: str
    slices: tuple[Header, ...]
    geometry: Geometry | None = None
    slots: tuple[int, ...] = ()
    copies: tuple[tuple[int, Header], ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def refusal(self) -> Finding | None:
        """The first finding that stops this stack from being read, if any."""
        return next((f for f in self.findings if f.action == "refused"), None)

    @property
    def chest_like(self) -> bool:
        """Whether the slices are axial and cover at least `CHEST_EXTENT_MM`."""
        height = extent(self.slices)
        return is_axial(self.slices[0]) and height >= CHEST_EXTENT_MM


@dataclass(frozen=True)
class Sorted:
    """A folder's frames, set apart.

    Parameters
    ----------
    slices : tuple of Header
        The CT slices.
    findings : tuple of Finding
        What was set aside, by kind.
    modalities : tuple of str
        Modalities that are not CT.
    """

    slices: tuple[Header, ...] = ()
    findings: tuple[Finding, ...] = ()
    modalities: tuple[str, ...] = ()


def normal_of(orientation: Sequence[float]) -> tuple[float, float, float]:
    """Cross product of the row and the column direction: where slices ascend.

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


def is_axial(header: Header) -> bool:
    """Whether a slice lies across the body: its normal is within 45 degrees of the long axis."""
    return len(header.orientation) == 6 and abs(normal_of(header.orientation)[2]) > math.sqrt(0.5)


def extent(slices: Iterable[Header]) -> float:
    """Distance between the outermost slice positions along the normal, mm; 0 where that is not known."""
    known = [h for h in slices if len(h.position) == 3 and len(h.orientation) == 6]
    if not known:
        return 0.0
    normal = normal_of(known[0].orientation)
    places = [sum(p * n for p, n in zip(h.position, normal, strict=True)) for h in known]
    places = [p for p in places if math.isfinite(p)]
    return max(places) - min(places) if places else 0.0
