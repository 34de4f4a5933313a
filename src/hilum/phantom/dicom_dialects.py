"""What scanners and archives do to the same Hounsfield units: a table of DICOM dialects."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"


@dataclass(frozen=True)
class Dialect:
    """How a scanner writes Hounsfield units into a DICOM series.

    Parameters
    ----------
    transfer_syntax : str
        UID of DICOM PS3.5 section 10 and annex A.
    signed : bool
        Whether stored values are two's complement (Pixel Representation 1).
    bits_stored : int
        12 or 16 of the 16 bits allocated; values that do not fit are clipped to the nearest that does.
    slope, intercept : float
        HU = slope * stored value + intercept. A slope of 0 stands for one that fills 16 bits with each slice's
        range, so that slope and intercept change from slice to slice.
    padding : int or None
        Stored value of voxels outside the field of view; None leaves them as they are.
    padding_tag : {"", "SS", "US"}
        How Pixel Padding Value (0028,0120) declares it: not at all, as signed, as unsigned. ``"US"`` with signed
        pixels and a padding of -2000 is the 63536 that LIDC-IDRI has.
    shuffled_names : bool
        File names that say nothing of the order of slices.
    reversed_numbers : bool
        Instance Number falls as the slices rise to the head.
    patient_position : str
        Patient Position (0018,5100).
    """

    transfer_syntax: str = EXPLICIT
    signed: bool = False
    bits_stored: int = 12
    slope: float = 1.0
    intercept: float = -1024.0
    padding: int | None = None
    padding_tag: str = ""
    shuffled_names: bool = False
    reversed_numbers: bool = False
    patient_position: str = "HFS"


DIALECTS: Mapping[str, Dialect] = MappingProxyType({
    "plain": Dialect(),
    "signed": Dialect(signed=True, bits_stored=16, intercept=0.0),
    "implicit": Dialect(transfer_syntax=IMPLICIT, intercept=-1000.0),
    "big-endian": Dialect(transfer_syntax=BIG_ENDIAN, signed=True, bits_stored=16),
    "deflated": Dialect(transfer_syntax=DEFLATED),
    "rle": Dialect(transfer_syntax=RLE, signed=True, bits_stored=16, intercept=0.0),
    "slope-2": Dialect(slope=2.0),
    "slope-per-slice": Dialect(bits_stored=16, slope=0.0),
    "padding-declared": Dialect(signed=True, bits_stored=16, intercept=-1024.0, padding=-2000, padding_tag="SS"),
    "padding-undeclared": Dialect(signed=True, bits_stored=16, intercept=0.0, padding=-2000),
    "padding-63536": Dialect(signed=True, bits_stored=16, padding=-2000, padding_tag="US"),
    "padding-unsigned": Dialect(bits_stored=16, padding=63536, padding_tag="US"),
    "shuffled": Dialect(shuffled_names=True),
    "reversed": Dialect(reversed_numbers=True),
    "feet-first": Dialect(reversed_numbers=True, patient_position="FFS"),
})  # fmt: skip
"""The dialects by name."""
