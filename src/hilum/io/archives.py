"""Archives of scans (.zip, .tar, .tar.gz, .tgz), and slices that are packed with gzip.

An archive is unpacked into a private folder of the system's temporary folder. It goes away when the reading ends, also
by an error or a signal; what a killed process left goes away when hilum next opens an archive. Every member is checked
before it is written: its name must stay inside, the bytes and members are limited, links and devices are left out.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hilum._os.folders import temporary_folder
from hilum.errors import HilumError
from hilum.io import unfinished
from hilum.io.unpacking import PLAUSIBLE_RATIO, SUFFIXES, unpack
from hilum.scan import Note

_SLICE_BYTES = 2**28  # a packed slice may unpack to so much


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
        An archive, or any other file or folder.

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
    import tempfile  # late: few archives are read

    temporary = Path(tempfile.gettempdir())
    unfinished.sweep_once(temporary)
    folder = unfinished.unfinished_folder(temporary / "archive")
    result = Opened(folder, path)
    try:
        folder.mkdir(mode=0o700)
        yield Opened(folder, path, unpack(path, folder))
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
    unfinished.sweep(temporary_folder(), nameless=False)


def is_packed_slice(name: str) -> bool:
    """Whether a file has the name of a slice that is packed with gzip, such as ``1.dcm.gz``; no volume has it."""
    lower = name.lower()
    return lower.endswith(".gz") and not lower.endswith((*SUFFIXES, ".nii.gz"))


def gunzip(path: Path) -> bytes:
    """Unpack a slice that is packed with gzip.

    Parameters
    ----------
    path : Path
        The packed file.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is damaged, or unpacks to more than a slice can have.
    """
    from isal import igzip  # late: few slices are packed

    with path.open("rb") as file:
        limit = max(_SLICE_BYTES, PLAUSIBLE_RATIO * os.fstat(file.fileno()).st_size)
        try:
            with igzip.GzipFile(fileobj=file) as packed:  # type: ignore[no-untyped-call]
                data: bytes = packed.read(limit + 1)
        except Exception as error:  # isal raises classes of its own
            raise ValueError(f"the gzip data are damaged: {error}") from error
    if len(data) > limit:
        raise ValueError(f"unpacks to more than {limit} bytes")
    return data
