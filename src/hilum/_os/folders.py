"""Folders of the user and of the system, and whose they are."""

import os
import sys
from contextlib import suppress
from pathlib import Path


def user_cache() -> Path | None:
    """Find the folder for what hilum can make again for this user; None for a user without a home folder.

    Returns
    -------
    Path or None
        ``~/.cache/hilum`` on Linux, or below XDG_CACHE_HOME; ``~/Library/Caches/hilum`` on macOS,
        ``Cache`` in ``%LOCALAPPDATA%`` and its folder ``hilum`` on Windows. It may not exist.
    """
    import platformdirs  # late: the code of most kernels is found before

    with suppress(RuntimeError):
        return platformdirs.user_cache_path("hilum", appauthor=False)
    return None


def temporary_folder() -> Path:
    """Find the folder for temporary files without writing to it, which the first call of `tempfile.gettempdir` does."""
    import tempfile  # late: it loads much

    if os.name == "nt":
        return Path(tempfile.gettempdir())
    return Path(tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - as Python's tempfile does


def user_number() -> int:
    """Find the number of this user, as `os.stat` gives it for files; 0 on Windows."""
    if sys.platform != "win32" and hasattr(os, "geteuid"):
        return os.geteuid()
    return 0


def is_private_group(status: os.stat_result) -> bool:
    """Check that the owner of a file is the only member of its group, as with a group for each user and umask 002."""
    if sys.platform != "win32":
        with suppress(ImportError, KeyError):  # a number without an entry in the system's list
            import grp
            import pwd

            group, owner = grp.getgrgid(status.st_gid), pwd.getpwuid(status.st_uid)
            alone = owner.pw_gid == status.st_gid and group.gr_name == owner.pw_name
            # Some containers run all users in the group of root.
            return alone and {*group.gr_mem} <= {owner.pw_name} and status.st_gid != 0
    return False
