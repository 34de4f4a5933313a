"""Header values that are not written as the standard says: a decimal comma, text for a number, no modality.

What can mean only one thing is read, and noted; the rest is refused with what is written there.
"""

import re
from typing import Literal, NamedTuple

Problem = Literal["malformed-value", "decimal-comma", "odd-modality", "odd-syntax", "bad-syntax"]


class OddValue(NamedTuple):
    """An element whose value is not written as the standard says.

    Parameters
    ----------
    problem : str
        The code of its finding.
    attribute : str
        Its keyword (PS3.6).
    text : str
        What is written there, safe to print, and what it is read as or what was expected.
    """

    problem: Problem
    attribute: str
    text: str


class NumberField(NamedTuple):
    """An element that holds decimal numbers.

    Parameters
    ----------
    attribute : str
        Its keyword.
    size : int
        How many numbers it holds.
    largest : float
        Larger numbers are impossible.
    """

    attribute: str
    size: int
    largest: float


NUMBERS = {
    "position": NumberField("ImagePositionPatient", 3, 5000),
    "orientation": NumberField("ImageOrientationPatient", 6, 1),
    "pixel_spacing": NumberField("PixelSpacing", 2, 100),
    "slice_step": NumberField("SpacingBetweenSlices", 1, 100),
    "thickness": NumberField("SliceThickness", 1, 100),
    "slope": NumberField("RescaleSlope", 1, 100),
    "intercept": NumberField("RescaleIntercept", 1, 1e9),
}
"""By the name of their `SliceHeader` field."""

_CT = "1.2.840.10008.5.1.4.1.1.2"
_CT_CLASSES = frozenset({_CT, f"{_CT}.1", f"{_CT}.2"})  # CT, enhanced CT, legacy converted enhanced CT
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_STANDARD = "1.2.840.10008.1.2"
_SYNTAXES = {
    _STANDARD: "Implicit VR Little Endian", f"{_STANDARD}.1": "Explicit VR Little Endian",
    f"{_STANDARD}.1.99": "Deflated", f"{_STANDARD}.2": "Explicit VR Big Endian", f"{_STANDARD}.5": "RLE",
    "1.2.840.113619.5.2": "GE private",
}  # fmt: skip
_FAMILIES = (("5", "JPEG"), ("6", "JPEG"), ("7", "JPEG"), ("8", "JPEG-LS"), ("9", "JPEG 2000"), ("20", "HTJ2K"))
"""The compression by the start of the last number of ``1.2.840.10008.1.2.4.N``."""

_DECIMAL = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_HARMLESS = re.compile(r"[\d+\-.,;:/*\\ eExm]{1,60}")
_LONGEST = 30


def read_odd_numbers(field: str, raw: bytes) -> tuple[tuple[float, ...], OddValue]:
    """Read numbers that are not plain decimal strings.

    A comma is a decimal comma if at least one number of the value cannot be meant otherwise: ``-1024,0`` is -1024,
    but ``-1,024`` may be -1024 too.

    Parameters
    ----------
    field : str
        A key of `NUMBERS`.
    raw : bytes
        Not blank, and not as many plain numbers as the field holds.

    Returns
    -------
    tuple of float
        Empty if the value is malformed.
    OddValue
    """
    attribute, count, largest = NUMBERS[field]
    text = raw.decode("latin-1").strip("\0 ")
    parts = [part.strip("\0 ") for part in text.split("\\")]
    if len(parts) == count and all(map(_DECIMAL.fullmatch, parts)):
        clear = [p for p in parts if "," in p and not _is_ambiguous(p, largest)]
        values = tuple(float(part.replace(",", ".")) for part in parts)
        if clear:
            read_as = ", ".join(f"{value:g}" for value in values)
            return values, OddValue("decimal-comma", attribute, f"{quoted(text)} is read as {read_as}")
    expected = "expected a number" if count == 1 else f"expected {count} numbers"
    return (), OddValue("malformed-value", attribute, f"{quoted(text)}, {expected}")


def _is_ambiguous(part: str, largest: float) -> bool:
    """Whether a comma may separate thousands."""
    return _THOUSANDS.fullmatch(part) is not None and abs(float(part.replace(",", ""))) <= largest


def quoted(text: str) -> str:
    """A value for a message: in quotes if it looks like numbers; other text can be anything, even a name."""
    if not _HARMLESS.fullmatch(text):
        return "text"
    return f"'{text}'" if len(text) <= _LONGEST else f"'{text[:_LONGEST]}…'"


def read_modality(modality: str, sop_class: str, *, has_ct_values: bool) -> tuple[str, OddValue | None]:
    """Read a modality that is absent or not in upper case.

    Parameters
    ----------
    modality, sop_class : str
        As written.
    has_ct_values : bool
        Whether the header has what only CT has: a rescale to Hounsfield units, or a convolution kernel.

    Returns
    -------
    str
        ``"CT"`` without a modality if the SOP class is a CT, or unspecific and the header has the values of a CT.
    OddValue or None
        What is odd about a CT.
    """
    if (upper := modality.upper()) == "CT" and modality != upper:
        return upper, OddValue("odd-modality", "Modality", f"'{modality}' is read as CT")
    if not modality and sop_class in _CT_CLASSES:
        return "CT", OddValue("odd-modality", "Modality", "absent, read as CT: the SOP class is a CT")
    if not modality and has_ct_values and (not sop_class or sop_class.startswith(_SECONDARY_CAPTURE)):
        return "CT", OddValue("odd-modality", "Modality", "absent, read as CT: the header has a CT's rescale or kernel")
    return upper, None


def describe_syntax(uid: str) -> str:
    """Name a transfer syntax for a message; text that is no UID is not shown."""
    number = uid.removeprefix(f"{_STANDARD}.4.")
    family = next((name for start, name in _FAMILIES if number != uid and number.startswith(start)), "")
    name = _SYNTAXES.get(uid, family)
    shown = uid if re.fullmatch(r"[\d.]{1,64}", uid) else "text that is no UID"
    return f"{shown} ({name})" if name else shown
