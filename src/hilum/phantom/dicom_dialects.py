"""The ways in which scanners and archives store the same Hounsfield units: a table of DICOM dialects."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

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
        12 or 16 of the 16 bits allocated; values beyond them are clipped.
    slope, intercept : float
        HU = slope * stored value + intercept. With a slope of 0 each slice gets the slope and intercept that stretch
        its range over the bits.
    padding : int or None
        Stored value of voxels outside the field of view; None leaves them as they are.
    padding_tag : {"", "SS", "US"}
        How Pixel Padding Value (0028,0120) declares it: not at all, as signed, as unsigned. ``"US"`` with signed
        pixels and a padding of -2000 gives 63536, as in LIDC-IDRI.
    shuffled_names : bool
        File names are not in the order of the slices.
    reversed_numbers : bool
        Instance Number decreases from the feet to the head.
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


def derived_uid(*parts: object) -> str:
    """Derive a UID from a hash of its parts: ``2.25.`` and a UUID (DICOM PS3.5 section B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(map(str, parts))).int}"
