"""The packages that some stores need, and the one line that says how to get them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hilum.errors import InputError

EXTRAS: dict[str, tuple[str, ...]] = {"b2nd": ("blosc2",), "zarr": ("zarr", "numcodecs.blosc", "google_crc32c")}
"""The modules of each extra; the first is what `need` gives."""


def check_packages(name: str) -> None:
    """Refuse a format whose package is not installed, before any work is done for it.

    Parameters
    ----------
    name : str
        Of a format; one that is no key of `EXTRAS` needs nothing.

    Raises
    ------
    InputError
        If it needs one that is not there.
    """
    if name in EXTRAS:
        need(name)


def need(extra: str) -> Any:
    """Import what an extra installs.

    Parameters
    ----------
    extra : str
        A key of `EXTRAS`.

    Returns
    -------
    module
        The first of its modules.

    Raises
    ------
    InputError
        If one is not installed: the line says which command installs it.
    """
    try:
        first, *_ = map(import_module, EXTRAS[extra])
    except ImportError as problem:
        name = problem.name or EXTRAS[extra][0]
        raise InputError(
            f"the format {extra} needs the package {name}, which is not installed",
            do=f"pip install 'hilum[{extra}]'",
            code=f"no-{extra}",
        ) from None
    return first
