"""Series UIDs: which text is one, what stands for a missing one, and what replaces one that must not leave."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from hilum.io.names import safe_name

if TYPE_CHECKING:
    from pathlib import Path

_DATE = re.compile(r"[0-9]{1,4}\.[0-9]{1,2}\.[0-9]{1,4}")
"""What three numbers with dots can be, too."""

_HIDEABLE = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-2](?:\.[0-9]+){3,}(?!\.?[0-9])")

_HEX_DIGITS = 16


def is_uid(text: str) -> bool:
    """Whether a text is a DICOM UID (PS3.5 section 9.1), or near enough: numbers and dots, three parts at least.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool
    """
    return len(text) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+){2,}", text) is not None


def series_name(path: Path) -> str:
    """The series a file is named after: LUNA16 calls its files by their Series Instance UID.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        The name without its suffix, where that is a UID or `hilum.io.names` lets it pass; a made-up one otherwise.
    """
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    stem = name.rpartition(".")[0] or name
    passes = safe_name(stem) or (is_uid(stem) and not _DATE.fullmatch(stem))
    return stem if passes and len(stem) <= 64 else made_up_name(stem)


def made_up_name(text: str) -> str:
    """A stable name for a series without a UID, which shows nothing of the text that it is made from.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        ``no-uid-`` and 16 hexadecimal digits of a SHA-256.
    """
    return f"no-uid-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:_HEX_DIGITS]}"


def hashed_uid(uid: str) -> str:
    """Another UID for a UID, the same wherever it is made: by it results of one series find each other.

    Parameters
    ----------
    uid : str

    Returns
    -------
    str
        A UUID of version 8 made from the SHA-256, as DICOM writes one (PS3.5 section B.2): ``2.25.`` and a number.
    """
    number = int.from_bytes(hashlib.sha256(uid.encode("utf-8", "surrogateescape")).digest()[:16])
    number = number & ~(0xF << 76) | 8 << 76  # the version
    return f"2.25.{number & ~(0x3 << 62) | 2 << 62}"  # the variant


def hide_uids(text: str) -> str:
    """Replace every UID in a text by its `hashed_uid`.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return _HIDEABLE.sub(lambda found: hashed_uid(found[0]), text)
