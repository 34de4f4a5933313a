"""The figure that every picture is drawn on: a notebook shows it by itself."""

import textwrap
from io import BytesIO

import matplotlib.figure

from hilum.errors import InputError

NARROW = 6.0  # inches; a narrower figure has fewer pictures side by side and smaller letters

SMALLEST_PT = 6.0  # of any text

PAPER_DOTS = 300  # dots per inch of a figure whose width is given

_MM_PER_INCH = 25.4
_WIDTH_OF_LETTER = 0.58  # the mean of DejaVu Sans, in heights of its letters


class Figure(matplotlib.figure.Figure):
    """A matplotlib Figure that a notebook shows as the value of a cell, without ``%matplotlib`` and without pyplot.

    pyplot does not know the figure, so nothing shows it a second time, and it is freed with its last name.
    """

    def _repr_png_(self) -> bytes:
        """Draw it for Jupyter, in its own resolution and on its own background."""
        with BytesIO() as file:
            self.savefig(file, format="png", facecolor=self.get_facecolor())
            return file.getvalue()


def figure_inches(width_mm: float | None, default: float) -> float:
    """Give the width of a figure, inches; the default if no width is asked for."""
    if width_mm is None:
        return default
    if not 80 <= width_mm <= 500:
        do = "85 is a column of a paper, 175 a page"
        raise InputError(f"width_mm is {width_mm:g}, expected 80 to 500", do=do, code="option")
    return width_mm / _MM_PER_INCH


def dots(width_mm: float | None, default: int = 100) -> int:
    """Give the dots per inch of a figure: those of paper if its width is asked for."""
    return default if width_mm is None else PAPER_DOTS


def letter_size(inches: float, size: float) -> float:
    """Give the size of letters, points: smaller on a narrow figure, never smaller than can be read."""
    return size if inches >= NARROW else max(SMALLEST_PT, size - 2.0)


def wrap(text: str, inches: float, size: float) -> str:
    """Break text into lines that fit a width, in letters of a size in points."""
    letters = max(10, int(inches * 72 / (_WIDTH_OF_LETTER * size)))
    return "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, letters) or [""])
