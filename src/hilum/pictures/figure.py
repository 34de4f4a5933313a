"""The figure that every picture is drawn on: a notebook shows it by itself."""

from io import BytesIO

import matplotlib.figure


class Figure(matplotlib.figure.Figure):
    """A matplotlib Figure that a notebook shows as the value of a cell, without ``%matplotlib`` and without pyplot.

    pyplot does not know the figure, so nothing shows it a second time, and it is freed with its last name.
    """

    def _repr_png_(self) -> bytes:
        """Draw it for Jupyter, in its own resolution and on its own background."""
        with BytesIO() as file:
            self.savefig(file, format="png", facecolor=self.get_facecolor())
            return file.getvalue()
