"""Archives of scans (.zip, .tar, .tar.gz, .tgz), and slices that are packed with gzip.

An archive is unpacked into a private folder of the system's temporary folder. It goes away when the reading ends, also
by an error or a signal; what a killed process left goes away when hilum next opens an archive. Every member is checked
before it is written: its name must stay inside, the bytes and members are limited, links and devices are left out.
"""

import errno
import os
import re
import stat
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hilum.errors import FormatError, HilumError, InputError, MissingInputError, UnsupportedError
from hilum.io import unfinished
from hilum.scan import Note

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")

MOST_MEMBERS = 100_000

_MOST_BYTES = 2**36  # of one archive, unpacked: 64 GiB

_PLAUSIBLE_BYTES, _PLAUSIBLE_RATIO = 2**30, 100  # 1 GiB, and 100 times the packed size

_SLICE_BYTES = 2**28  # a packed slice may unpack to so much

_DIRECTORY_BYTES = 2**25  # of the members' names in a .zip, which are in memory at once

_PIECE = 2**20

_BLOCK = 512  # of a .tar; at least one of zeros is the last

_UNPACK = "unpack it, and give the folder"

_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Opened:
    """A path whose files can be read.

    Parameters
    ----------
    path : Path
        The folder with the content of an archive; any other path is itself.
    archive : Path
        The path that was given.
    notes : tuple of Note
        What was left out of the archive.
    """

    path: Path
    archive: Path
    notes: tuple[Note, ...] = ()

    def place(self, error: HilumError) -> HilumError:
        """The same error, where its file is a member of the archive and not one of the private folder."""
        where = Path(str(error.where))
        if error.where is None or self.path == self.archive or not where.is_relative_to(self.path):
            return error
        where = self.archive / where.relative_to(self.path)
        return type(error)(error.what, where=where, do=error.do, code=error.code)


def is_archive(path: Path) -> bool:
    """Whether a path is that of an archive, by its suffix."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def suffix_of(path: Path) -> str:
    """The suffix of an archive's name, ``.tar.gz`` as one."""
    return next(path.name[-len(suffix) :] for suffix in SUFFIXES if path.name.lower().endswith(suffix))


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Unpack an archive while its content is read; any other path stays as it is.

    Parameters
    ----------
    path : Path

    Yields
    ------
    Opened

    Raises
    ------
    FormatError
        If the archive is damaged, has too many members or bytes, two members of one name, or a name that leads out.
    UnsupportedError
        If a member is encrypted or packed in an unknown way, or there are only archives in the archive.
    MissingInputError
        If it has no files.
    InputError
        If the temporary folder is full. Errors of the caller on a member name the archive and the member.
    """
    if not is_archive(path):
        yield Opened(path, path)
        return
    temporary = Path(tempfile.gettempdir())
    unfinished.sweep_once(temporary)
    folder = unfinished.unfinished_folder(temporary / "archive")
    result = Opened(folder, path)
    try:
        folder.mkdir(mode=0o700)
        yield Opened(folder, path, _unpack(path, folder))
    except HilumError as error:
        if (placed := result.place(error)) is error:
            raise
        raise placed from error
    finally:
        unfinished.remove(folder)


def holder(path: Path) -> Path:
    """The archive that a path is below; any other path itself."""
    return next(filter(is_archive, path.parents), path)


@contextmanager
def opened_member(path: Path) -> Iterator[Path]:
    """Unpack the archive of a file while it is read, if the file is a path below an archive; see `opened`.

    Yields
    ------
    Path
        Of the file.
    """
    archive = holder(path)
    if archive == path:
        yield path
        return
    with opened(archive) as place:
        yield place.path / path.relative_to(archive)


def sweep() -> None:
    """Remove the private folders that killed processes left."""
    # Not `gettempdir`, whose first call writes a file to try a folder: most runs open no archive.
    folder = Path(tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - as Python's tempfile does
    unfinished.sweep(folder, nameless=False)


def is_packed_slice(name: str) -> bool:
    """Whether a file has the name of a slice that is packed with gzip, such as ``1.dcm.gz``; no volume has it."""
    lower = name.lower()
    return lower.endswith(".gz") and not lower.endswith((*SUFFIXES, ".nii.gz"))


def gunzip(path: Path) -> bytes:
    """Unpack a slice that is packed with gzip.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is damaged, or unpacks to more than a slice can have.
    """
    from isal import igzip  # late: few slices are packed

    with path.open("rb") as file:
        limit = max(_SLICE_BYTES, _PLAUSIBLE_RATIO * os.fstat(file.fileno()).st_size)
        try:
            with igzip.GzipFile(fileobj=file) as packed:  # type: ignore[no-untyped-call]
                data: bytes = packed.read(limit + 1)
        except Exception as error:  # isal raises classes of its own
            raise ValueError(f"the gzip data are damaged: {error}") from error
    if len(data) > limit:
        raise ValueError(f"unpacks to more than {limit} bytes")
    return data


@dataclass
class _Target:
    """The folder that takes the members of an archive, and what it may still take."""

    folder: Path
    archive: Path
    bytes_left: int
    members: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def place_of(self, name: str) -> Path | None:
        """Where a member goes; None for one that is left out. Refuses a name that leads out, and too many members."""
        self.members += 1
        if self.members > MOST_MEMBERS:
            raise self.refuse(f"has more than {MOST_MEMBERS} members", code="too-large")
        plain = name.replace("\\", "/")  # some programs of Windows write it
        parts = [part for part in plain.split("/") if part not in {"", "."}]
        if "\0" in name or plain.startswith("/") or ".." in parts or re.match("[A-Za-z]:", plain):
            raise self.refuse("a member has a name that leads out of the archive", name=name, code="path")
        if not parts or parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
            return None  # as a search of a folder leaves out hidden files
        if plain.lower().endswith(SUFFIXES):
            self.left_out["archives in it"] += 1
            return None
        return self.folder.joinpath(*parts)

    def write(self, source: IO[bytes], path: Path) -> None:
        """Write one member."""
        name = path.relative_to(self.folder).as_posix()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as out:
                while piece := source.read(_PIECE):
                    self.bytes_left -= len(piece)
                    if self.bytes_left < 0:
                        raise self.refuse("unpacks to too many bytes: no scan packs so well", code="too-large")
                    out.write(piece)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise self.refuse("two members have this name", name=name, code="duplicate-members") from error

    def refuse(self, what: str, *, name: str = "", code: str) -> FormatError:
        where = Path(f"{self.archive}/{name}") if name else self.archive
        return FormatError(what, where=where, do=_UNPACK, code=code)


def _unpack(path: Path, folder: Path) -> tuple[Note, ...]:
    """Write the members of an archive into a folder."""
    size = path.stat().st_size
    target = _Target(folder, path, min(_MOST_BYTES, max(_PLAUSIBLE_BYTES, _PLAUSIBLE_RATIO * size)))
    try:
        if path.name.lower().endswith(".zip"):
            _unpack_zip(path, target)
        else:
            _unpack_tar(path, target)
    except HilumError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            what, do = f"the temporary folder has no room for its {size / 2**20:.0f} MiB unpacked", "set TMPDIR"
            raise InputError(what, where=path, do=do, code="no-room") from error
        if error.errno is None:
            raise _damaged(path, error) from error
        raise FormatError(f"cannot be unpacked: {error.strerror or error}", where=path, do=_UNPACK) from error
    except NotImplementedError as error:
        what = f"is packed in a way that is not read: {error}"
        raise UnsupportedError(what, where=path, do=_UNPACK) from error
    except Exception as error:  # malformed bytes raise errors of many kinds
        raise _damaged(path, error) from error
    if not any(folder.iterdir()):
        if nested := target.left_out["archives in it"]:
            what = f"holds nothing but {nested} archives"
            raise UnsupportedError(what, where=path, do="unpack it, and give these", code="nested-archive")
        raise MissingInputError(
            "the archive has no files", where=path, do="give the archive of a series", code="no-files"
        )
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(target.left_out.items()))
    return (Note("archive-members", f"members of the archive that were left out: {counts}"),) if counts else ()


def _damaged(path: Path, problem: object) -> FormatError:
    return FormatError(f"the archive is damaged: {problem}", where=path, do="download it again", code="damaged")


def _unpack_zip(path: Path, target: _Target) -> None:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**16 - 22))
        end = file.read()
        at = end.rfind(b"PK\5\6")
        if at >= 0 and int.from_bytes(end[at + 12 : at + 16], "little") > _DIRECTORY_BYTES:
            raise target.refuse(f"has more than {MOST_MEMBERS} members", code="too-large")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > target.bytes_left:
            raise target.refuse("unpacks to too many bytes: no scan packs so well", code="too-large")
        for member in members:
            place = target.place_of(member.orig_filename)
            if place is None or member.orig_filename.endswith(("/", "\\")):
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in {0, stat.S_IFREG}:
                target.left_out["links or devices"] += 1
                continue
            if member.flag_bits & 1:
                do = "unpack it with its password, and give the folder"
                raise UnsupportedError("is encrypted", where=path / member.filename, do=do, code="encrypted")
            with archive.open(member) as source:
                target.write(source, place)


def _unpack_tar(path: Path, target: _Target) -> None:
    from isal import igzip  # late: few archives are read

    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"  # names can be wrong
        raw.seek(max(0, path.stat().st_size - _BLOCK))
        if not packed and raw.read().strip(b"\0"):  # gzip has a checksum instead
            raise _damaged(path, "it ends early")
        raw.seek(0)
        stream = igzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[no-untyped-call]
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # it would keep all
                place = target.place_of(member.name)
                if place is None or member.isdir():
                    continue
                source = archive.extractfile(member) if member.isreg() else None
                if source is None:
                    target.left_out["links or devices"] += 1
                else:
                    target.write(source, place)
        while packed and stream.read(_PIECE):  # to the end, where the checksum is
            pass
