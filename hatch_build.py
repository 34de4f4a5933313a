"""What a wheel holds beside the source: the page of `hilum view`, and the kernels of the system that builds it.

The source archive holds the page too. Where it is missing or old, it is built, which needs node; HILUM_WITHOUT_PAGE=1
builds without it. An editable install uses the page of `python3 dev.py page`.

A clone and an editable install need no library: they compile kernels where they run them. HILUM_WITHOUT_KERNELS=1
builds a wheel without it, for every system; its users need the extra ``compile``.
"""

from __future__ import annotations

import os
import platform
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuiltPartsHook(BuildHookInterface):
    """Build the page and, for a wheel, the library of kernels."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """List the packages that compile the kernels, and a linker where the system has none."""
        if self.target_name != "wheel" or _without_kernels():
            return []
        extras = self.metadata.core.optional_dependencies["compile"]
        needed = [name for name in self.metadata.core.dependencies if name.startswith(("numpy", "lazy-loader"))]
        return [*extras, *needed, *([] if any(map(shutil.which, ("cc", "clang", "gcc"))) else ["ziglang>=0.13"])]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is asked for."""
        if version == "editable":
            return
        self._build_page(Path(self.root))
        if self.target_name == "wheel" and not _without_kernels():
            self._build_library(build_data)

    def _build_page(self, root: Path) -> None:
        """Build the page in a clone where it is missing or old; stop the build where that cannot be done."""
        if _is_set("HILUM_WITHOUT_PAGE"):
            return
        failed = 0
        if (root / ".git").exists() and shutil.which("npm"):
            dev = runpy.run_path(str(root / "dev.py"))
            failed = 0 if dev["page_is_built"]() else dev["page"]([])
        if failed or not (root / "src/hilum/viewer/page/index.html").is_file():
            what = "the page of 'hilum view' is not built, which needs node 20 or newer: install it"
            self.app.abort(f"{what}, or set HILUM_WITHOUT_PAGE=1 to build without the page")

    def _build_library(self, build_data: dict[str, Any]) -> None:
        self.made = tempfile.mkdtemp()
        library = Path(self.made, "kernels.bin")
        command = [sys.executable, "-m", "hilum._kernels.compile", str(library)]
        source = str(Path(self.root, "src"))
        subprocess.run(command, env={**os.environ, "PYTHONPATH": source}, check=True)  # noqa: S603 - hilum's own
        build_data["force_include"][str(library)] = f"hilum/_kernels/{library.name}"
        build_data["pure_python"], build_data["tag"] = False, f"py3-none-{_platform_tag()}"

    def finalize(self, _version: str, _build_data: dict[str, Any], _artifact: str) -> None:
        """Remove what the build left."""
        shutil.rmtree(getattr(self, "made", ""), ignore_errors=True)


def _without_kernels() -> bool:
    return _is_set("HILUM_WITHOUT_KERNELS")


def _is_set(name: str) -> bool:
    return os.environ.get(name, "") not in {"", "0"}


def _platform_tag() -> str:
    """The systems that can load the library; on Linux it asks for no version of any C library."""
    machine = platform.machine()
    if sys.platform == "linux":
        return f"manylinux_2_17_{machine}.manylinux2014_{machine}.musllinux_1_1_{machine}"
    if sys.platform == "darwin":
        return f"macosx_11_0_{machine}"
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
