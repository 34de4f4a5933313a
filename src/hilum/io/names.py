"""The names of files and series that results may contain: those that a program made or a data set published.

File names can contain names of patients. hilum writes the name of a file only if it matches a rule below. Any other
file is called by its number among the sorted files: its owner can count to it, and nobody else learns anything. A
series without a UID gets a made-up name, and a UID that must not leave is hashed.
"""

import hashlib
import re
from pathlib import Path

from hilum.errors import one_line

_SUFFIX = (
    r"(?:\.(?:dcm|dicom|ima|img|mhd|mha|raw|zraw|nii|nrrd|nhdr|npy|b2nd|zarr|csv|xml|json|toml|txt|log|db|ini|html|pdf|"
    r"png|jpe?g|zip|tar))?(?:\.gz)?"
)

_WORD = (
    r"(?:ct|mr|im|img|image|i|z|slice|slices|scan|series|study|file|vol|volume|case|chest|lungs?|nodules?|mask|seg|"
    r"dicom|phantom|export|subset|part|copy)"
)

_NUMBER = r"0*[0-9]{1,4}"  # at most four digits, enough to count slices; eight can be a birth date or a patient number

_UID = r"[0-2](?:\.(?:0|[1-9][0-9]*)){4,}"  # at least five parts: three can be a date

_PUBLIC = (
    r"(?:LIDC-IDRI-[0-9]{4}|LNDb-[0-9]{4}|LUNG1-[0-9]{3}|NLST-[0-9]{6}|copd[0-9]{1,2}|LUNA16|"
    r"TCIA_LIDC-IDRI(?:_[0-9]{8})?)"
)

_TABLES = (
    r"(?:annotations|annotations_excluded|candidates|candidates_v2|patients|metadata|(?:stage[12]|sample)_"
    r"(?:labels|solution|images)|list3\.2|sampleSubmission|train(?:Nodules|Nodules_gt|CTs|Folds|Fleischner)|"
    r"LUNA25_Public_Training_Development_Data|nlst_780_(?:prsn|screen|canc|ctab|ctabc)_idc_[0-9]{8}|"
    r"sct_image_series_d[0-9]{6})"
)

_FILES = r"(?:DICOMDIR|LICENSE|README|VERSION|Thumbs|desktop|\.DS_Store)"

_SAFE = re.compile(
    rf"(?i)(?:{_UID}|{_WORD}?[._-]?{_UID}|{_WORD}[ ._-]?|[a-z]|(?:{_WORD}|[a-z])?[ ._-]?{_NUMBER}(?:[._-]{_NUMBER})?|"
    rf"(?=[0-9a-f]*[a-f])[0-9a-f]{{16,64}}|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|{_PUBLIC}|{_TABLES}|"
    rf"{_FILES}){_SUFFIX}",
)

_PATHS = re.compile(r"[^\s'\"(),;]*[/\\][^\s'\"(),;:]+")
_FILE_NAMES = re.compile(r"(?i)[^\s'\"(),;:]+\.(?:dcm|ima|mhd|mha|z?raw|nii(?:\.gz)?|nrrd|nhdr|npy|csv|xml)\b")

_QUOTED = re.compile(r"(?<!\w)(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")")
"""Text quoted from a file in a message; an apostrophe within a word opens no quote."""

_KERNEL = re.compile(
    r"(?i)[A-Z][A-Za-z]{0,2}[0-9]{1,3}[a-z]?|[A-Z]|[EUSY][A-D]|[0-9]{1,2}|"
    r"(?:STANDARD|STND|STD|LUNG|BONE|BONEPLUS|CHST|CHEST|SOFT|DETAIL|EDGE|ULTRA|BODY|SHARP|SMOOTH)(?:[0-9]{1,2}|\+)?|"
    r"(?:[BCHL]|BODY|LUNG|BONE)_(?:V?SHARP|V?SOFT|SMOOTH|STANDARD)(?:_[A-Z])?",
)
"""The reconstruction kernels of scanners: ``B70f``, ``Br40d``, ``FC51``, ``LUNG``, ``YA``, ``B_SHARP_C``."""

_CASE = re.compile(r"(?:LIDC-IDRI|LNDb)-[0-9]{4}|LUNG1-[0-9]{3}")

LEFT_OUT = "(a name)"  # replaces each part of a path that must not leave

_ANY_UID = re.compile(r"[0-9]+(?:\.[0-9]+){2,}")  # possibly a UID of a series, also a hashed one

_DATE = re.compile(r"[0-9]{1,4}\.[0-9]{1,2}\.[0-9]{1,4}")  # three numbers with dots can also be a date

_HIDEABLE = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-2](?:\.[0-9]+){3,}(?!\.?[0-9])")


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

    def safe_part(part: str) -> str:
        stays = (full or part in {"", "."} or safe_name(part)) and not (hide and _ANY_UID.search(part))
        return (part if part.isprintable() else one_line(part)) if stays else LEFT_OUT

    return "/".join(map(safe_part, path.split("/")))


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
    return " ".join(values) if len(values) <= 4 and all(map(_KERNEL.fullmatch, values)) else ""


def scrub(text: str) -> str:
    """Remove quoted text, paths and file names from a message, except those that `safe_name` accepts."""
    bare = _QUOTED.sub(lambda match: match[0] if safe_name(match[1] or match[2] or "") else "(a text)", text)
    bare = _PATHS.sub("(a path)", bare)
    return _FILE_NAMES.sub(lambda match: match[0] if safe_name(match[0]) else "(a file)", bare)


def is_uid(text: str) -> bool:
    """Whether a text looks like a DICOM UID (PS3.5 section 9.1): numbers and dots, at least three parts."""
    return len(text) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+){2,}", text) is not None


def series_name(path: Path) -> str:
    """The name of a series from its file, which LUNA16 calls by its Series Instance UID.

    Returns
    -------
    str
        The name without its suffix, if that is a UID or `hilum.io.names.safe_name` accepts it; else a made-up name.
    """
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    stem = name.rpartition(".")[0] or name
    is_safe = safe_name(stem) or (is_uid(stem) and not _DATE.fullmatch(stem))
    return stem if is_safe and len(stem) <= 64 else made_up_name(stem)


def made_up_name(text: str) -> str:
    """A stable name for a series without a UID, a hash of a text.

    Returns
    -------
    str
        ``no-uid-`` and 16 hexadecimal digits of a SHA-256.
    """
    return f"no-uid-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def hashed_uid(uid: str) -> str:
    """Replace a UID by a hash, the same in every run, so that results of one series can still be matched.

    Returns
    -------
    str
        A UUID of version 8 made from the SHA-256, as DICOM writes one (PS3.5 section B.2): ``2.25.`` and a number.
    """
    number = int.from_bytes(hashlib.sha256(uid.encode("utf-8", "surrogateescape")).digest()[:16])
    number = number & ~(0xF << 76) | 8 << 76  # the version
    return f"2.25.{number & ~(0x3 << 62) | 2 << 62}"  # the variant


def hide_uids(text: str) -> str:
    """Replace every UID in a text by its `hashed_uid`."""
    return _HIDEABLE.sub(lambda match: hashed_uid(match[0]), text)
