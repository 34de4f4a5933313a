"""``SHA256SUMS``: the checksums of a run's own files, in the form that ``sha256sum --check`` reads."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from hilum.errors import FormatError
from hilum.io.atomic import atomic_path, write_refused
from hilum.io.files import open_file, read_small

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "SHA256SUMS"

_LARGEST = 1 << 16

_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._-]+)\n")


def file_sha256(path: Path) -> str:
    """Hash a file's content.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    InputError
        If it is gone, is no regular file, or may not be read.
    """
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path, names: Sequence[str]) -> None:
    """Write the checksums of files of a folder; the file is left as it is where they are the same.

    Parameters
    ----------
    folder : Path
    names : sequence of str

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    text = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in names)
    path = folder / NAME
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with atomic_path(path) as partial:
        partial.write_text(text)


def remove_checksums(folder: Path) -> None:
    """Remove the checksums of a folder whose files are about to change.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    OutputError
        If the system refuses.
    """
    path = folder / NAME
    try:
        path.unlink(missing_ok=True)
    except OSError as problem:
        raise write_refused("", problem, where=path) from None


def read_checksums(folder: Path) -> dict[str, str]:
    """Read the checksums of a folder's files.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict of str to str
        The SHA-256 of each file, by its name; empty where there is no such file.

    Raises
    ------
    FormatError, InputError
        If a line is not of the form, or the file is no regular one.
    """
    path = folder / NAME
    if not path.is_file():
        return {}
    lines = read_small(path, limit=_LARGEST).decode("ascii", "replace").splitlines(keepends=True)
    found = [_LINE.fullmatch(line) for line in lines]
    if not all(found):
        raise FormatError("a line is not a checksum and a name", where=path, do="run it again with the same command")
    return {match[2]: match[1] for match in found if match is not None}
