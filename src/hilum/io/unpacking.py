"""Write the members of an archive into a folder: each is checked before, and their number and bytes are limited."""

import errno
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hilum.errors import FormatError, HilumError, InputError, MissingInputError, UnsupportedError
from hilum.scan import Note

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")

MOST_MEMBERS = 100_000

_MOST_BYTES = 2**36  # of one archive, unpacked: 64 GiB

_PLAUSIBLE_BYTES, PLAUSIBLE_RATIO = 2**30, 100  # 1 GiB, and 100 times the packed size

_DIRECTORY_BYTES = 2**25  # of the members' names in a .zip, which are in memory at once

_PIECE = 2**20

_BLOCK = 512  # of a .tar; at least one of zeros is the last

_UNPACK = "unpack it, and give the folder"

_FULL = {errno.ENOSPC, errno.EDQUOT}


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


def unpack(path: Path, folder: Path) -> tuple[Note, ...]:
    """Write the members of an archive into a folder.

    Parameters
    ----------
    path : Path
        Its suffix tells how it is packed.
    folder : Path
        An empty folder.

    Returns
    -------
    tuple of Note
        What was left out.

    Errors are those of `hilum.io.archives.opened`.
    """
    size = path.stat().st_size
    target = _Target(folder, path, min(_MOST_BYTES, max(_PLAUSIBLE_BYTES, PLAUSIBLE_RATIO * size)))
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
    import zipfile  # late: few archives are read

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
    import tarfile  # late, as above

    from isal import igzip

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
