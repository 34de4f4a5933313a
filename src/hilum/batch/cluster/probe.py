"""What a Dask worker is asked before it gets a scan.

This file is sent to the worker as text, because hilum may be missing there, or be another version. So it imports
nothing but the standard library at its head, and it runs on Pythons that hilum itself does not support.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import time
from typing import Any

HEAD = 1 << 16
"""Bytes of an input file that are compared."""


def look(asked: dict[str, Any]) -> dict[str, Any]:
    """Say what a worker has and sees.

    Parameters
    ----------
    asked : dict
        ``packages``: names; ``hilum``: the wanted version; ``run``: whose worker this becomes; ``out``: the output
        folder; ``probe`` and ``token``: a file there and what it holds; ``answer``: a file to be written there, with
        the same token; ``inputs``: a path, a size and a SHA-256 of its head each; ``patience``: seconds for which a
        file that is not seen yet is waited for.

    Returns
    -------
    dict
        ``versions`` by package, with ``python``; and ``broken``, ``out``, ``write``, ``input``: what is wrong with
        the import of hilum, the output folder, writing there, and the input; empty where nothing is.
    """
    versions = {"python": python(), **{name: version_of(name) for name in asked["packages"]}}
    out = _sees_out(asked)
    return {
        "versions": versions,
        "broken": _admit(asked["run"]) if versions["hilum"] == asked["hilum"] else "",
        "out": out,
        "write": "" if out else _writes(asked),
        "input": next(filter(None, (_sees_input(*known) for known in asked["inputs"])), ""),
    }


def python() -> str:
    """Tell Python's version, without what changes nothing for others.

    Returns
    -------
    str
        Such as ``3.12``.
    """
    return ".".join(platform.python_version_tuple()[:2])


def version_of(name: str) -> str:
    """Tell a package's version.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
        Empty where it cannot be imported.
    """
    try:
        return str(importlib.import_module(name).__version__)
    except Exception:  # noqa: BLE001 - whatever a broken package raises, it cannot be used
        return ""


def _admit(run: str) -> str:
    try:
        importlib.import_module("hilum.batch.cluster.worker_pools").admit(run)
    except Exception as problem:  # noqa: BLE001 - as above
        return f"{type(problem).__name__}: {problem}"
    return ""


def _sees_out(asked: dict[str, Any]) -> str:
    """What is wrong with the output folder; a network file system may show a new file a little late."""
    until = time.monotonic() + asked["patience"]
    while True:
        try:
            with open(asked["probe"], encoding="ascii") as file:  # noqa: PTH123 - the standard library, by its shortest way
                return "" if file.read() == asked["token"] else "another file is there"
        except (OSError, ValueError) as problem:
            if time.monotonic() >= until:
                here = "" if os.path.isdir(asked["out"]) else "no such folder there"  # noqa: PTH112 - as above
                return here or "a file just written there is not seen" + (
                    "" if isinstance(problem, FileNotFoundError) else f": {problem}"
                )
        time.sleep(0.2)


def _writes(asked: dict[str, Any]) -> str:
    try:
        with open(asked["answer"], "x", encoding="ascii") as file:  # noqa: PTH123 - as above
            file.write(asked["token"])
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        return problem.strerror or str(problem)
    scans = os.path.join(asked["out"], "scans")  # noqa: PTH118 - as above
    return "" if os.access(scans, os.W_OK | os.X_OK) else "scans/ is not writable"


def _sees_input(path: str, size: int, head: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            same = os.fstat(file.fileno()).st_size == size and hashlib.sha256(file.read(HEAD)).hexdigest() == head
    except OSError as problem:
        return f"does not see {path} ({problem.strerror or problem})"
    return "" if same else f"sees another file as {path}"
