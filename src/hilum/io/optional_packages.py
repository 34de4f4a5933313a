"""The packages of the extras ``b2nd`` and ``zarr``, imported late; an error says which command installs them."""

from importlib import import_module
from typing import Any

from hilum.errors import InputError

EXTRAS: dict[str, tuple[str, ...]] = {"b2nd": ("blosc2",), "zarr": ("zarr", "numcodecs.blosc", "google_crc32c")}
"""The modules of each extra; `import_extra` returns the first."""


def check_packages(name: str) -> None:
    """Refuse a format whose packages are not installed, before any work is done.

    Parameters
    ----------
    name : str
        Of a format; a format that is not in `EXTRAS` needs no package.

    Raises
    ------
    InputError
        If a package is not installed.
    """
    if name in EXTRAS:
        import_extra(name)


def import_extra(extra: str) -> Any:
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
        If one is not installed; the message has the command that installs it.
    """
    try:
        first, *_ = map(import_module, EXTRAS[extra])
    except ImportError as problem:
        name = problem.name or EXTRAS[extra][0]
        what = f"the format {extra} needs the package {name}, which is not installed"
        raise InputError(what, do=f"pip install 'hilum[{extra}]'", code=f"no-{extra}") from None
    return first
