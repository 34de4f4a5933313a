"""What a wheel holds beside the source: the library of compiled kernels, for the system that builds it.

A clone and an editable install need no library: they compile kernels where they run them. HILUM_WITHOUT_KERNELS=1
builds a wheel without it, for every system; its users need the extra ``compile``.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelsHook(BuildHookInterface):
    """Compile the kernels, and put the library into the wheel."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """List the packages that compile the kernels, and a linker where the system has none."""
        if _without_kernels():
            return []
        extras = self.metadata.core.optional_dependencies["compile"]
        needed = [name for name in self.metadata.core.dependencies if name.startswith(("numpy", "lazy-loader"))]
        return [*extras, *needed, *([] if any(map(shutil.which, ("cc", "clang", "gcc"))) else ["ziglang>=0.13"])]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library."""
        if version == "editable" or _without_kernels():
            return
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
    return os.environ.get("HILUM_WITHOUT_KERNELS", "") not in {"", "0"}


def _platform_tag() -> str:
    """The systems that can load the library; on Linux it asks for no version of any C library."""
    machine = platform.machine()
    if sys.platform == "linux":
        return f"manylinux_2_17_{machine}.manylinux2014_{machine}.musllinux_1_1_{machine}"
    if sys.platform == "darwin":
        return f"macosx_11_0_{machine}"
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
