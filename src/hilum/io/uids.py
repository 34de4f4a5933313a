"""Series UIDs: recognize one, replace a missing one, and hash one that must not leave."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from hilum.io.names import safe_name

if TYPE_CHECKING:
    from pathlib import Path

_DATE = re.compile(r"[0-9]{1,4}\.[0-9]{1,2}\.[0-9]{1,4}")
"""Three numbers with dots can also be a date."""

_HIDEABLE = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-2](?:\.[0-9]+){3,}(?!\.?[0-9])")


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
