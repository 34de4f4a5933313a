"""Pictures of scans, masks and scores: each function returns a matplotlib Figure that a notebook shows by itself.

The functions are imported with matplotlib when they are first used; ``dir(hilum.plot)`` lists them without it. They
take a `hilum.Scan`, a `hilum.Volume` or a scan of a run, in HU, and draw the radiologist's view to scale: the patient's
right on the left, the front or the head on top. ``figure.savefig("name.png")`` writes a file. They need ``pip install
'hilum[plots]'``.
"""

from importlib import import_module
from typing import Any

from hilum.errors import InputError

_FUNCTIONS = ("compare", "froc", "histogram", "montage", "nodules", "overview", "steps", "surface", "window")
__all__ = [*_FUNCTIONS]  # noqa: PLE0604 - strings all


def __getattr__(name: str) -> Any:
    """Import a function when it is first used."""
    if name not in _FUNCTIONS:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; its functions are {', '.join(_FUNCTIONS)}"
        )
    try:
        module = import_module(f"hilum.pictures.{name}")
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("hilum"):
            raise
        what = f"hilum.plot needs {missing.name}, which is not installed"
        raise InputError(what, do="pip install 'hilum[plots]'", code="option") from None
    return globals().setdefault(name, getattr(module, name))


def __dir__() -> list[str]:
    """List the functions, imported or not."""
    return [*_FUNCTIONS]
