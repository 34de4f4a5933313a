"""The names of files that results may contain: names that a program made or a data set published, and no others.

File names can contain names of patients. hilum writes the name of a file only if it matches a rule below. Any other
file is called by its number among the sorted files: its owner can count to it, and nobody else learns anything.
"""

from __future__ import annotations

import re

from hilum.errors import one_line

_SUFFIX = (
    r"(?:\.(?:dcm|dicom|ima|img|mhd|mha|raw|zraw|nii|nrrd|nhdr|npy|b2nd|zarr|csv|xml|json|toml|txt|log|db|ini|html|pdf|"
    r"png|jpe?g|zip|tar))?(?:\.gz)?"
)

_WORD = (
    r"(?:ct|mr|im|img|image|i|z|slice|slices|scan|series|study|file|vol|volume|case|chest|lungs?|nodules?|mask|seg|"
    r"dicom|phantom|export|subset|part|copy)"
)

_NUMBER = r"0*[0-9]{1,4}"
"""At most four digits, enough to count slices; eight can be a birth date or a patient number."""

_UID = r"[0-2](?:\.(?:0|[1-9][0-9]*)){4,}"
"""At least five parts: three can be a date."""

_PUBLIC = r"(?:LIDC-IDRI-[0-9]{4}|LNDb-[0-9]{4}|LUNA16|TCIA_LIDC-IDRI(?:_[0-9]{8})?)"

_TABLES = (
    r"(?:annotations|annotations_excluded|candidates|candidates_v2|patients|metadata|(?:stage[12]|sample)_"
    r"(?:labels|solution|images)|list3\.2|sampleSubmission)"
)

_FILES = r"(?:DICOMDIR|LICENSE|README|VERSION|Thumbs|desktop|\.DS_Store)"

_SAFE = re.compile(
    rf"(?:{_UID}|{_WORD}?[._-]?{_UID}|{_WORD}[ ._-]?|[a-z]|(?:{_WORD}|[a-z])?[ ._-]?{_NUMBER}(?:[._-]{_NUMBER})?|"
    rf"(?=[0-9a-f]*[a-f])[0-9a-f]{{16,64}}|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|{_PUBLIC}|{_TABLES}|"
    rf"{_FILES}){_SUFFIX}",
    re.IGNORECASE,
)

_PATHS = re.compile(r"[^\s'\"(),;]*[/\\][^\s'\"(),;:]+")
_FILE_NAMES = re.compile(
    r"[^\s'\"(),;:]+\.(?:dcm|ima|mhd|mha|z?raw|nii(?:\.gz)?|nrrd|nhdr|npy|csv|xml)\b", re.IGNORECASE
)

_QUOTED = re.compile(r"(?<!\w)(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")")
"""Text quoted from a file in a message; an apostrophe within a word opens no quote."""

_KERNEL = re.compile(
    r"[A-Z][A-Za-z]{0,2}[0-9]{1,3}[a-z]?|[A-Z]|[EUSY][A-D]|[0-9]{1,2}|"
    r"(?:STANDARD|STND|STD|LUNG|BONE|BONEPLUS|CHST|CHEST|SOFT|DETAIL|EDGE|ULTRA|BODY|SHARP|SMOOTH)(?:[0-9]{1,2}|\+)?|"
    r"(?:[BCHL]|BODY|LUNG|BONE)_(?:V?SHARP|V?SOFT|SMOOTH|STANDARD)(?:_[A-Z])?",
    re.IGNORECASE,
)
"""The reconstruction kernels of scanners: ``B70f``, ``Br40d``, ``FC51``, ``LUNG``, ``YA``, ``B_SHARP_C``."""

_CASE = re.compile(r"(?:LIDC-IDRI|LNDb)-[0-9]{4}")

LEFT_OUT = "(a name)"
"""Replaces each part of a path that must not leave."""

_MAX_KERNELS = 4


def safe_name(path: str) -> str:
    """The name of a file, if results may contain it.

    Parameters
    ----------
    path : str
        A name, or a path whose parts are separated by ``/``.

    Returns
    -------
    str
        Its last part; empty where that matches no rule of this module.

    Examples
    --------
    >>> safe_name("a/IM-0001-0012.dcm"), safe_name("SMITH_JOHN.dcm"), safe_name("19330517.dcm")
    ('IM-0001-0012.dcm', '', '')
    """
    name = path.rsplit("/", 1)[-1]
    return name if _SAFE.fullmatch(name) else ""


_ANY_UID = re.compile(r"[0-9]+(?:\.[0-9]+){2,}")
"""Possibly a UID of a series, also a hashed one."""


def safe_path(path: str, *, full: bool = False, hide: bool = False) -> str:
    """Replace the parts of a path that must not leave; idempotent.

    Parameters
    ----------
    path : str
        Its parts are separated by ``/``.
    full : bool
        Whether to keep every name.
    hide : bool
        Whether to replace every name with a UID in it, also with `full`.

    Returns
    -------
    str
        One line, with ``(a name)`` for each replaced part.

    Examples
    --------
    >>> safe_path("SMITH_JOHN/series 3/IM0001")
    '(a name)/series 3/IM0001'
    """
    parts = [
        part if (full or part in {"", "."} or safe_name(part)) and not (hide and _ANY_UID.search(part)) else LEFT_OUT
        for part in path.split("/")
    ]
    return "/".join(part if part.isprintable() else one_line(part) for part in parts)


def public_case(path: str) -> str:
    """The name that a public data set gives to the case of a file or folder.

    Parameters
    ----------
    path : str
        Its parts are separated by ``/``.

    Returns
    -------
    str
        Of the last part of the path with such a name; empty where there is none.

    Examples
    --------
    >>> public_case("manifest/LIDC-IDRI-0314/3000566"), public_case("LNDb-0001.mhd"), public_case("SMITH")
    ('LIDC-IDRI-0314', 'LNDb-0001', '')
    """
    stems = [part if "." not in part else part[: part.index(".")] for part in reversed(path.split("/"))]
    return next((stem for stem in stems if _CASE.fullmatch(stem)), "")


def safe_kernel(text: str) -> str:
    r"""The name of a reconstruction kernel, if scanners use it.

    Parameters
    ----------
    text : str
        ConvolutionKernel of a DICOM header: one value, or several separated by backslashes.

    Returns
    -------
    str
        The values, separated by spaces; empty where one of them is not a known kernel.

    Examples
    --------
    >>> safe_kernel("B70f"), safe_kernel("I70f\\3"), safe_kernel("SMITH")
    ('B70f', 'I70f 3', '')
    """
    values = text.replace("\\", " ").split()
    return " ".join(values) if len(values) <= _MAX_KERNELS and all(map(_KERNEL.fullmatch, values)) else ""


def scrub(text: str) -> str:
    """Remove quoted text, paths and file names from a message, except those that `safe_name` accepts."""
    bare = _QUOTED.sub(lambda match: match[0] if safe_name(match[1] or match[2] or "") else "(a text)", text)
    bare = _PATHS.sub("(a path)", bare)
    return _FILE_NAMES.sub(lambda match: match[0] if safe_name(match[0]) else "(a file)", bare)
