"""Which names of files may leave with a result: those that a program made up or a data set published, and no others.

People call files after patients. What hilum writes names a file only where its name fits a rule below; a name that fits
none is told as its place among the files, which the person who holds them can count, and nobody else can guess.
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
"""Four digits count slices; eight can be a birth date, or the number of a patient."""

_UID = r"[0-2](?:\.(?:0|[1-9][0-9]*)){4,}"
"""Five parts at least: three can be a date."""

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
"""What messages quote stood in a file; an apostrophe in a word opens nothing."""

_KERNEL = re.compile(
    r"[A-Z][A-Za-z]{0,2}[0-9]{1,3}[a-z]?|[A-Z]|[EUSY][A-D]|[0-9]{1,2}|"
    r"(?:STANDARD|STND|STD|LUNG|BONE|BONEPLUS|CHST|CHEST|SOFT|DETAIL|EDGE|ULTRA|BODY|SHARP|SMOOTH)(?:[0-9]{1,2}|\+)?|"
    r"(?:[BCHL]|BODY|LUNG|BONE)_(?:V?SHARP|V?SOFT|SMOOTH|STANDARD)(?:_[A-Z])?",
    re.IGNORECASE,
)
"""What scanners call their kernels: ``B70f``, ``Br40d``, ``FC51``, ``LUNG``, ``YA``, ``B_SHARP_C``."""

_CASE = re.compile(r"(?:LIDC-IDRI|LNDb)-[0-9]{4}")

LEFT_OUT = "(a name)"
"""What stands in a path for a part of it that stays where it is."""

_MOST_KERNELS = 4


def safe_name(path: str) -> str:
    """The name of a file, where it may leave.

    Parameters
    ----------
    path : str
        A name, or a path whose parts are separated by ``/``.

    Returns
    -------
    str
        Its last part; empty where that fits no rule of this module.

    Examples
    --------
    >>> safe_name("a/IM-0001-0012.dcm"), safe_name("SMITH_JOHN.dcm"), safe_name("19330517.dcm")
    ('IM-0001-0012.dcm', '', '')
    """
    name = path.rsplit("/", 1)[-1]
    return name if _SAFE.fullmatch(name) else ""


_ANY_UID = re.compile(r"[0-9]+(?:\.[0-9]+){2,}")
"""What may be a UID of a series, also one that begins as a hashed one does."""


def safe_path(path: str, *, full: bool = False, hide: bool = False) -> str:
    """A path of which only those names leave that may; to do it again changes nothing.

    Parameters
    ----------
    path : str
        Its parts are separated by ``/``.
    full : bool
        Whether every name may leave.
    hide : bool
        Whether no name may that holds a UID, whatever else is said.

    Returns
    -------
    str
        One line, with ``(a name)`` for each part that may not leave.

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
    """What a public data set calls the case that a file or folder belongs to.

    Parameters
    ----------
    path : str
        Its parts are separated by ``/``.

    Returns
    -------
    str
        Of the last part that is called after one; empty where none is.

    Examples
    --------
    >>> public_case("manifest/LIDC-IDRI-0314/3000566"), public_case("LNDb-0001.mhd"), public_case("SMITH")
    ('LIDC-IDRI-0314', 'LNDb-0001', '')
    """
    stems = [part if "." not in part else part[: part.index(".")] for part in reversed(path.split("/"))]
    return next((stem for stem in stems if _CASE.fullmatch(stem)), "")


def safe_kernel(text: str) -> str:
    r"""The name of a reconstruction kernel, where it is one that scanners have.

    Parameters
    ----------
    text : str
        ConvolutionKernel of a DICOM header: one value, or several separated by backslashes.

    Returns
    -------
    str
        The values, separated by spaces; empty where one of them could be anything else.

    Examples
    --------
    >>> safe_kernel("B70f"), safe_kernel("I70f\\3"), safe_kernel("SMITH")
    ('B70f', 'I70f 3', '')
    """
    values = text.replace("\\", " ").split()
    return " ".join(values) if len(values) <= _MOST_KERNELS and all(map(_KERNEL.fullmatch, values)) else ""


def numbered_file(number: int, total: int) -> str:
    """What a file is called whose name stays where it is: its place among the sorted files.

    Parameters
    ----------
    number : int
        From 0.
    total : int

    Returns
    -------
    str
    """
    return f"file {number + 1} of {total}" if total > 1 else "the file"


def scrub(text: str) -> str:
    """Take what a message quotes, paths, and names of files out of it, unless `safe_name` lets them pass.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    bare = _QUOTED.sub(lambda found: found[0] if safe_name(found[1] or found[2] or "") else "(a text)", text)
    bare = _PATHS.sub("(a path)", bare)
    return _FILE_NAMES.sub(lambda found: found[0] if safe_name(found[0]) else "(a file)", bare)
