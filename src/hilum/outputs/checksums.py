"""``SHA256SUMS``: the checksums of a run's own files, in the format of ``sha256sum --check``; checks of any file."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from hilum.errors import FormatError, MissingInputError
from hilum.io import atomic, files
from hilum.outputs.records import FileRecord

NAME = "SHA256SUMS"

RERUN = "run the same command again: it repairs the output"  # what to do about damage that a rerun repairs


_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._-]+)\n")


def file_sha256(path: Path) -> str:
    """Hash a file's content: 64 hexadecimal digits.

    Raises
    ------
    InputError
        If the file is missing, not a regular file, or not readable.
    """
    with files.open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_record(path: Path) -> FileRecord:
    """Record the size and SHA-256 of a file; it raises as `file_sha256` does."""
    return FileRecord(bytes=path.stat().st_size, sha256=file_sha256(path))


def check_file(folder: Path, name: str, expected: FileRecord, *, digest: bool = True) -> None:
    """Compare a file with its recorded size and checksum.

    Parameters
    ----------
    folder : Path
        The folder that the record belongs to.
    name : str
        Relative to `folder`, parts separated by ``/``. No part may be a link.
    expected : FileRecord
        Name, size and checksum of the file.
    digest : bool
        Also read all bytes and compare the checksum.

    Raises
    ------
    MissingInputError
        If the file is missing, a link, not a regular file, or not readable.
    FormatError
        If the size or the checksum differs.
    """
    path = folder / name
    if not files.is_own_file(folder, name):
        raise MissingInputError("is missing or not a regular file", where=path, do=RERUN)
    try:
        same_size = path.stat().st_size == expected.bytes
        same = not digest or not same_size or file_sha256(path) == expected.sha256
    except (OSError, ValueError):
        raise MissingInputError("cannot be read", where=path, do=RERUN) from None
    if not same_size:
        raise FormatError("does not have the size that was recorded", where=path, do=RERUN)
    if not same:
        raise FormatError("does not match its checksum", where=path, do=RERUN, code="checksum")


def write_checksums(folder: Path, names: Sequence[str]) -> None:
    """Write ``SHA256SUMS`` for some files of a folder, unless it is up to date; `OutputError` if that fails."""
    text = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in names)
    path = folder / NAME
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with atomic.atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def remove_checksums(folder: Path) -> None:
    """Remove ``SHA256SUMS`` from a folder whose files are about to change; `OutputError` if that is not possible."""
    path = folder / NAME
    with atomic.refusing_writes(path):
        path.unlink(missing_ok=True)


def read_checksums(folder: Path) -> dict[str, str]:
    """Read ``SHA256SUMS``: the SHA-256 of each file, by its name; empty without ``SHA256SUMS``.

    Raises
    ------
    FormatError, InputError
        If a line is malformed, or ``SHA256SUMS`` is not a regular file.
    """
    path = folder / NAME
    if not path.is_file():
        return {}
    checksums = {}
    for line in files.read_small(path, limit=1 << 16).decode("ascii", "replace").splitlines(keepends=True):
        if (match := _LINE.fullmatch(line)) is None:
            raise FormatError("a line is not a checksum and a name", where=path, do=RERUN)
        checksums[match[2]] = match[1]
    return checksums
