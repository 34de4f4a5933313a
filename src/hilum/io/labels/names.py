"""Names of label maps: they are parts of file names, so they have few characters."""

import re

from hilum.errors import InputError

_NAME = re.compile(r"[a-z0-9_-]{1,48}")


def map_name(text: str) -> str:
    """The name of a label map for any text.

    Returns
    -------
    str
        Lower case; each run of other characters than ``[a-z0-9-]`` becomes ``_``.

    Examples
    --------
    >>> map_name("GTV-1"), map_name("Lung L"), map_name("PTV (60 Gy)")
    ('gtv-1', 'lung_l', 'ptv_60_gy')
    """
    return re.sub(r"[^a-z0-9-]+", "_", text.lower()).strip("_")[:48] or "region"


def check_name(name: str, *, option: str) -> str:
    """Return the name of a label map.

    Raises
    ------
    InputError
        If it has other characters, or too many.
    """
    if not _NAME.fullmatch(name):
        what = f"{option}: a label map cannot be called '{name}'"
        raise InputError(what, do="take up to 48 of the characters a-z 0-9 _ -", code="option")
    return name
