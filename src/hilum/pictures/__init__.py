"""Pictures of scans and masks, for a person to check them by.

A module a figure, each with one function of the module's name that takes scans, volumes or recipes, and returns a
matplotlib Figure: ``from hilum.pictures.montage import montage``. Nothing is shown on a screen, and pyplot stays out.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hilum.errors import InputError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURES: dict[str, tuple[str, str]] = {
    "histogram": ("hilum.pictures.histogram", "histogram"),
    "montage": ("hilum.pictures.montage", "montage"),
    "surface": ("hilum.pictures.surface", "surface"),
    "steps": ("hilum.pictures.steps", "steps"),
    "nodules": ("hilum.pictures.nodules", "nodules"),
    "window": ("hilum.pictures.window", "window"),
    "compare": ("hilum.pictures.compare", "compare"),
    "overview": ("hilum.pictures.overview", "overview"),
    "froc_curve": ("hilum.pictures.froc", "froc_curve"),
}
"""Every figure by name: its module, imported when it is asked for (matplotlib takes most of a second), and function."""


def find_figure(name: str) -> Callable[..., Any]:
    """Look up the function that draws a figure.

    Parameters
    ----------
    name : str
        A key of `FIGURES`.

    Returns
    -------
    callable
        Returns a ``matplotlib.figure.Figure``.

    Raises
    ------
    InputError
        If there is no such figure.
    """
    if name not in FIGURES:
        raise InputError(f"no figure {one_line(name, limit=40)!r}, expected {', '.join(FIGURES)}", code="option")
    module, function = FIGURES[name]
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found
