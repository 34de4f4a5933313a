"""Open untrusted files safely: only regular ones, and data files only in the folder of their header.

A header can name a file of another owner, an endless pipe, or a link that leads out of its folder.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path

from hilum._os.files import hint, open_handle
from hilum.errors import FormatError, InputError, InputTypeError, MissingInputError, name_type, one_line
from hilum.scan import Scan
from hilum.volume import Volume

HEADER_LIMIT = 65536  # the longest text header that is read, in bytes; real ones have some hundred


def as_path(given: object) -> Path:
    """The path that a caller of a public function means; refused, with an InputTypeError, if it is something else."""
    if isinstance(given, str | os.PathLike):
        return Path(given)
    do = "give the path of a file or folder"
    if isinstance(given, Scan | Volume):
        do = "it is in memory already"
    elif isinstance(given, list | tuple):
        do = "give the folder that holds the files"
    else:
        from hilum.scan_ref import ScanRef  # late: only this message needs it

        if isinstance(given, ScanRef):
            do = "give its path: ref.path"
    raise InputTypeError(f"{name_type(given)} is no path", do=do)


def open_file(path: Path, *, named: str = "", follow: bool = True) -> FileIO:
    """Open a regular file for reading; a pipe or a device is refused without waiting for it.

    Parameters
    ----------
    path : Path
        The file.
    named : str, optional
        The name of the file in a header, for messages.
    follow : bool
        Whether a link is followed; it is refused in a finished output.

    Returns
    -------
    FileIO
        Unbuffered.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InputError
        If it is not a regular file, or cannot be read.
    """
    what = f"the data file {one_line(named, limit=60)!r}" if named else "the file"
    if not follow and path.is_symlink():
        raise InputError("is a link", where=path, do="give the folder that hilum wrote", code="link")
    try:
        handle = open_handle(path, follow=follow)
    except (FileNotFoundError, NotADirectoryError) as error:
        do = hint(error, path) or "check the path and the download"
        raise MissingInputError(f"{what} does not exist", where=path, do=do) from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{what} cannot be opened: {reason}", where=path, code="unreadable") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{what} is not a regular file", where=path, do="give a file", code="unreadable")
    return FileIO(handle, "rb")


def read_small(path: Path, *, limit: int) -> bytes:
    """Read a small, untrusted file of a finished output.

    Parameters
    ----------
    path : Path
        Not a link.
    limit : int
        The most bytes of such a file.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InputError
        If it is a link, a pipe or a device, is longer, or cannot be read.
    """
    with BufferedReader(open_file(path, follow=False)) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise FormatError(f"is longer than {limit} bytes", where=path, code="size")
    return data


def is_own_file(folder: Path, name: str) -> bool:
    """Whether a name below a folder is that of a regular file, reached without a link.

    Parameters
    ----------
    folder : Path
        The folder that the name is looked up in.
    name : str
        Parts separated by ``/``.
    """
    path = folder / name
    try:
        is_file = stat.S_ISREG(path.lstat().st_mode)
        return is_file and not any(part.is_symlink() for part in path.parents[: name.count("/")])
    except (OSError, ValueError):
        return False


def path_exists(path: Path) -> bool:
    """Whether a path exists; False also for an impossible name, and in a folder that cannot be opened."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises where the folder cannot be opened


@contextmanager
def open_data(header: Path, handle: FileIO, name: str) -> Iterator[tuple[Path, FileIO]]:
    """Open the data file that a header names, or take the header's own file if it names none.

    Parameters
    ----------
    header : Path
        The header's file.
    handle : FileIO
        The header's file, which stays open.
    name : str
        As in the header; empty where the data are in the header's file.

    Yields
    ------
    tuple of Path and FileIO

    Raises
    ------
    FormatError, MissingInputError, InputError
        As `data_path` and `open_file`.
    """
    if not name:
        yield header, handle
        return
    path = data_path(header, name)
    with open_file(path, named=name) as data:
        yield path, data


def data_path(header: Path, name: str) -> Path:
    """The path of a data file that a header names; refuse a path outside the header's folder.

    Parameters
    ----------
    header : Path
        The header that names the file.
    name : str
        As in the header.

    Returns
    -------
    Path
        In the header's folder or below it, after following links.

    Raises
    ------
    FormatError
        If the name is empty, absolute, climbs with ``..`` or leads out of the folder over a link.
    """
    quoted = repr(one_line(name, limit=60))
    do = "put the data file into the folder of its header and name it without a folder"
    parts = name.replace("\\", "/").split("/")
    if not name or "\0" in name or name[0] in "/\\" or ".." in parts or name[1:2] == ":":
        raise FormatError(f"data file {quoted} is not inside the header's folder", where=header, do=do, code="path")
    try:
        folder = header.parent.resolve()
        target = (folder / name).resolve()
    except (OSError, RuntimeError) as error:  # a name too long for the system, or links in a loop
        raise FormatError(f"data file {quoted} cannot be followed", where=header, do=do, code="path") from error
    if not target.is_relative_to(folder):
        raise FormatError(f"data file {quoted} leads out of the header's folder", where=header, do=do, code="path")
    return target
