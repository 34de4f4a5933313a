"""What a user may state about reading a scan: which volume of a folder, and how to read what its headers leave open."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from hilum.errors import InputError, check_number
from hilum.recipe_sections import Read

_WIDEST_SPACING_MM = 100.0

Tilt = Literal["correct", "refuse"]

_LARGEST = 1e6


def _is_rescale(numbers: object) -> bool:
    if not isinstance(numbers, tuple | list) or not all(isinstance(number, Real) for number in numbers):
        return False
    return len(numbers) == 2 and numbers[0] != 0 and all(abs(number) <= _LARGEST for number in numbers)


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """The options of `hilum.read` that decide what is read.

    Parameters
    ----------
    series : str
        Series Instance UID, number in the list of `hilum info`, or kernel; empty for the largest chest.
    phase : str
        Which of several volumes at the same positions: the value of the attribute that tells them apart; empty for the
        first of the largest.
    volume : int, optional
        Number of the volume in the list of `hilum info`, from 1.
    max_gap_mm : float, optional
        Where slices are missing or damaged, their neighbors may be this far apart: the slices between them are
        interpolated linearly, with a note. 0 refuses every gap. None is the limit of the recipe ``default``.
    slice_spacing_mm : float, optional
        For slices without positions: the distance from one InstanceNumber to the next along the normal, negative if
        they count against it (from head to feet).
    tilt : {"correct", "refuse"}
        Slices of a tilted gantry are shifted onto a straight grid, with a note, or refused.
    rescale : tuple of float, optional
        Slope and intercept from stored values to Hounsfield units, instead of those of the file.
    hu_offset : float, optional
        Added to every value, HU; before padding is recognized and values are clipped.

    Raises
    ------
    InputError
        If the volume is below 1, the gap negative or not finite, the spacing zero, not finite or beyond 100 mm, the
        rescale or offset impossible, or `tilt` another word.
    """

    series: str = ""
    phase: str = ""
    volume: int | None = None
    max_gap_mm: float | None = None
    slice_spacing_mm: float | None = None
    tilt: Tilt = "correct"
    rescale: tuple[float, float] | None = None
    hu_offset: float | None = None

    def __post_init__(self) -> None:
        numbers = ("volume", "max_gap_mm", "slice_spacing_mm", "hu_offset")
        for name in numbers:
            if (value := getattr(self, name)) is not None:
                check_number(name, value)
        if self.volume is not None and self.volume < 1:
            raise InputError(f"volume is {self.volume}, expected a number of the list of `hilum info`", code="option")
        if not 0 <= self.gap_mm < math.inf:
            raise InputError(f"max_gap_mm is {self.max_gap_mm}, expected a distance of 0 mm or more", code="option")
        spacing = self.slice_spacing_mm
        if spacing is not None and not 0 < abs(spacing) <= _WIDEST_SPACING_MM:
            expected = f"expected up to {_WIDEST_SPACING_MM:g} mm, negative if InstanceNumber counts from head to feet"
            raise InputError(f"slice_spacing_mm is {spacing}, {expected}", code="option")
        if self.tilt not in ("correct", "refuse"):
            raise InputError(f"tilt is {self.tilt!r}, expected correct or refuse", code="option")
        if self.rescale is not None and not _is_rescale(self.rescale):
            what = f"rescale is {self.rescale}, expected a slope that is not 0 and an intercept, up to {_LARGEST:g}"
            raise InputError(what, code="option")
        if self.hu_offset is not None and not abs(self.hu_offset) <= _LARGEST:
            raise InputError(f"hu_offset is {self.hu_offset}, expected a number up to {_LARGEST:g}", code="option")

    @classmethod
    def of_recipe(cls, step: Read) -> "ReadOptions":
        """The options that the section ``read`` of a recipe states."""
        rescale = (step.rescale[0], step.rescale[1]) if step.rescale else None
        offset = step.hu_offset or None
        return cls(max_gap_mm=step.max_gap_mm, tilt=step.tilt, rescale=rescale, hu_offset=offset)

    @property
    def gap_mm(self) -> float:
        """The widest gap that may be interpolated, mm."""
        return Read().max_gap_mm if self.max_gap_mm is None else self.max_gap_mm

    @property
    def rescale_note(self) -> str:
        """What is stated about the values; empty if nothing is."""
        rescale = (
            "" if self.rescale is None else "slope {:g} and intercept {:g} are used as stated".format(*self.rescale)
        )
        offset = f"{self.hu_offset:+g} HU are added as stated" if self.hu_offset else ""
        return "; ".join(filter(None, (rescale, offset)))

    def rescaled(self, slope: float, intercept: float) -> tuple[float, float]:
        """Slope and intercept of a file, after what is stated."""
        slope, intercept = (slope, intercept) if self.rescale is None else self.rescale
        return slope, intercept + (self.hu_offset or 0.0)


DEFAULT = ReadOptions()
"""Every scan as its files say; gaps as in the recipe ``default``."""
