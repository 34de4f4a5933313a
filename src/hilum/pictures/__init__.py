"""Pictures of scans and masks.

Each figure has a module with a function of the same name that takes scans, volumes or recipes and returns a matplotlib
Figure: ``from hilum.pictures.montage import montage``. Nothing is shown on a screen, and pyplot is not used.
"""

import os
import platform
import sys
from pathlib import Path

from hilum._kernels.compile import cache


def _set_matplotlib_folder() -> None:
    """Give matplotlib a folder for its list of fonts if it cannot write to the home folder.

    Otherwise it would make a folder for each process, list the fonts again, and print a warning.
    """
    if "matplotlib" in sys.modules or os.environ.get("MPLCONFIGDIR") or platform.system() != "Linux":
        return
    home = os.path.expanduser("~")  # noqa: PTH111 - as matplotlib finds it, also a relative one
    config, fonts = (os.environ.get(name) for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"))
    folders = (config or f"{home}/.config", fonts or f"{home}/.cache")
    if all(_is_writable(Path(path)) for path in folders):
        return
    if (folder := cache.private_folder("matplotlib")) is not None:
        os.environ["MPLCONFIGDIR"] = str(folder)


def _is_writable(folder: Path) -> bool:
    """Whether matplotlib's folder exists and is writable, or can be made."""
    folder /= "matplotlib"
    existing = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), folder)
    return folder.is_absolute() and existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


_set_matplotlib_folder()
