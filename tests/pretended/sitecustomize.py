"""A Python that is not what it is, for processes that have this folder on PYTHONPATH: Python imports this file first.

PRETEND holds ``name=version`` pairs separated by spaces; a package without a version is missing.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import platform
import sys


class _Pretended(importlib.abc.MetaPathFinder):
    def __init__(self, versions):
        self.versions = versions

    def find_spec(self, name, path=None, target=None):  # noqa: ARG002 - the interface of a finder
        if name not in self.versions:
            return None
        if not self.versions[name]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            module.__version__ = self.versions[name]

        spec.loader.exec_module = exec_module
        return spec


if pairs := dict(pair.split("=") for pair in os.environ.get("PRETEND", "").split()):
    if "python" in pairs:
        platform.python_version_tuple = lambda: tuple(pairs["python"].split("."))
    sys.meta_path.insert(0, _Pretended(pairs))
