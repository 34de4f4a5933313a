"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.errors import HilumError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary name in the same folder, moved to `path` on success and removed on failure.

    The file exists, empty, when the block starts. When the block ends without an exception its bytes are forced
    to the disk and it replaces whatever had the name; a reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path : str or Path
        The final name; its folder must exist.

    Yields
    ------
    Path
        A hidden file in the same folder with the same suffixes, so that writers which look at them are content.

    Raises
    ------
    OutputError
        If the system refuses: no space, no permission, no such folder. Nothing is left behind.
    """
    final = Path(path)
    suffixes = final.name[-7:] if final.name.lower().endswith(".nii.gz") else final.suffix
    temporary = final.with_name(f".{secrets.token_hex(8)}.part{suffixes}")
    try:
        # Opened by hand, not with tempfile: the file gets the permissions that the umask asks for, not 0600.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(final)
        except BaseException:  # an interrupt must not leave a part behind either
            temporary.unlink(missing_ok=True)
            raise
        _sync(final.parent)
    except HilumError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write: {error.strerror or error}", where=final, do="check the folder, its permissions and space"
        ) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
