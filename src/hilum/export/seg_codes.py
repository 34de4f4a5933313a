"""What DICOM calls the segments of a DICOM-SEG: category, property, side, region and color, by the name of a label.

Source: DICOM PS3.16 CID 7150 (categories) and SNOMED CT codes of pydicom's dictionary. A name that is not known here is
"Tissue", as 3D Slicer writes a segment that nobody described.
"""

import re
from typing import NamedTuple

_ORGANS = {
    "lung": "Lung",
    "lungs": "Lung",
    "heart": "Heart",
    "esophagus": "Esophagus",
    "oesophagus": "Esophagus",
    "trachea": "Trachea",
    "aorta": "Aorta",
    "liver": "Liver",
    "spinal cord": "SpinalCord",
    "spinalcord": "SpinalCord",
    "cord": "SpinalCord",
    "lower lobe": "LowerLobeOfLung",
    "upper lobe": "UpperLobeOfLung",
    "middle lobe": "MiddleLobeOfRightLung",
}
"""Names of organs, without a side, and the keywords of their codes."""

_SIDES = {"right": "Right", "r": "Right", "rt": "Right", "left": "Left", "l": "Left", "lt": "Left"}

_TUMOR = re.compile(r"(tumou?r|cancer|gtv|neoplasm|carcinoma)s?( ?[a-z]?\d*)?")

_PALETTE = (
    (235, 140, 60), (115, 170, 220), (120, 200, 150), (200, 120, 180),
    (220, 200, 90), (150, 130, 210), (100, 190, 200), (190, 150, 110),
)  # fmt: skip
"""Recommended colors, RGB, by turns."""


class Segment(NamedTuple):
    """A segment: its name, the keywords of its codes, and the color, RGB, to display it in.

    Parameters
    ----------
    label : str
        The name that a viewer shows.
    category, property : str
        Keywords in pydicom's CID 7150 and in its SNOMED CT dictionary.
    side : str
        ``Right``, ``Left`` or empty.
    color : tuple of int
        Red, green and blue, 0 to 255.
    in_lung : bool
        Whether it is known to lie in a lung.
    automatic : bool
        Whether hilum found it. Otherwise it follows from what somebody drew: neither automatic nor manual.
    """

    label: str
    category: str
    property: str
    side: str
    color: tuple[int, int, int]
    in_lung: bool = False
    automatic: bool = False


def lung_segment(side: str) -> Segment:
    """The segment of hilum's own mask of the ``Right`` or ``Left`` lung."""
    color = (115, 170, 220) if side == "Right" else (120, 200, 150)
    return Segment(f"{side.lower()} lung", "AnatomicalStructure", "Lung", side, color, automatic=True)


def nodule_segment(number: int) -> Segment:
    """The segment of a nodule."""
    category = "MorphologicallyAbnormalStructure"
    return Segment(f"nodule {number}", category, "Nodule", "", (235, 140, 60), in_lung=True)


def named_segment(label: str, number: int) -> Segment:
    """The segment of a label in a label map, by its name; `number` chooses the color."""
    words = re.sub(r"[^a-z0-9]+", " ", label.lower()).split()
    sides = {_SIDES[word] for word in words if word in _SIDES}
    organ = " ".join(word for word in words if word not in _SIDES)
    color, text = _PALETTE[number % len(_PALETTE)], label[:64]
    if _TUMOR.fullmatch(organ):
        return Segment(text, "MorphologicallyAbnormalStructure", "NeoplasmPrimary", "", color)
    if organ in _ORGANS:
        side = sides.pop() if len(sides) == 1 and organ.startswith(("lung", "lower", "upper")) else ""
        return Segment(text, "AnatomicalStructure", _ORGANS[organ], side, color)
    return Segment(text, "Tissue", "Tissue", "", color)
