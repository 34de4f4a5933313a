"""Pictures of scans and masks, for a person to check them by.

A module a figure, each with one function of the module's name that takes scans, volumes or recipes, and returns a
matplotlib Figure: ``from hilum.pictures.montage import montage``. Nothing is shown on a screen, and pyplot stays out.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilum._kernels.compile import cache
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


def _find_room_for_matplotlib() -> None:
    """Name a folder for matplotlib's list of fonts where the home folder takes none.

    matplotlib would make one for each process, list the fonts anew, and complain in two lines.
    """
    if "matplotlib" in sys.modules or os.environ.get("MPLCONFIGDIR") or not sys.platform.startswith("linux"):
        return
    home = os.environ.get("HOME") or cache.home()  # matplotlib takes a relative one, too
    named = [os.environ.get(f"XDG_{kind}_HOME") or (home and f"{home}/.{kind.lower()}") for kind in ("CONFIG", "CACHE")]
    if all(path and _takes_files(Path(path)) for path in named):
        return
    folder = cache.private_folder("matplotlib")
    if folder is not None:
        os.environ["MPLCONFIGDIR"] = str(folder)


def _takes_files(folder: Path) -> bool:
    """Whether files can be written into a folder, or it can be made."""
    folder /= "matplotlib"
    there = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), folder)
    return folder.is_absolute() and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


_find_room_for_matplotlib()
