"""The check that a Dask worker runs on itself before it gets a scan.

This file is sent to the worker as text, because hilum may be missing there, or have another version. So it imports only
the standard library at the top, and it runs on old versions of Python that hilum does not support.
"""

import hashlib
import importlib
import os
import platform
import time
from typing import Any

HEAD = 1 << 16  # how many bytes of an input file are compared


def probe_worker(request: dict[str, Any]) -> dict[str, Any]:
    """Report the software and the files that a worker has.

    Parameters
    ----------
    request : dict
        ``packages``: names; ``hilum``: the required version; ``run``: the name of the run; ``out``: the output folder;
        ``probe`` and ``token``: a file there and its content; ``answer``: a file to be written there with the same
        token; ``inputs``: for each file its path, its size and the SHA-256 of its head; ``wait_seconds``: how long to
        wait for the probe to appear.

    Returns
    -------
    dict
        ``versions`` by package, with ``python``; and ``broken``, ``out``, ``write``, ``input``: the problem with the
        import of hilum, the output folder, writing there, and the input; empty without a problem.
    """
    versions = {"python": python(), **{name: version_of(name) for name in request["packages"]}}
    out = _out_problem(request)
    return {
        "versions": versions,
        "broken": _accept_run(request["run"]) if versions["hilum"] == request["hilum"] else "",
        "out": out,
        "write": "" if out else _write_problem(request),
        "input": next(filter(None, (_input_problem(*file) for file in request["inputs"])), ""),
    }


def python() -> str:
    """Find the version of Python, without the micro version.

    Returns
    -------
    str
        For example ``3.12``.
    """
    return ".".join(platform.python_version_tuple()[:2])


def version_of(name: str) -> str:
    """Find the version of a package.

    Parameters
    ----------
    name : str
        Name of the package as it is imported.

    Returns
    -------
    str
        Empty if the package cannot be imported.
    """
    try:
        return str(importlib.import_module(name).__version__)
    except Exception:  # noqa: BLE001 - a broken package may raise anything
        return ""


def _accept_run(run: str) -> str:
    try:
        importlib.import_module("hilum.batch.cluster.worker_pools").accept_run(run)
    except Exception as problem:  # noqa: BLE001 - as above
        return f"{type(problem).__name__}: {problem}"
    return ""


def _out_problem(request: dict[str, Any]) -> str:
    """The problem with the output folder. A network file system may show a new file late."""
    until = time.monotonic() + request["wait_seconds"]
    while True:
        try:
            with open(request["probe"], encoding="ascii") as file:  # noqa: PTH123 - this file does not import pathlib
                return "" if file.read() == request["token"] else "another file is there"
        except (OSError, ValueError) as problem:
            if time.monotonic() >= until:
                here = "" if os.path.isdir(request["out"]) else "no such folder there"  # noqa: PTH112 - as above
                why = "" if isinstance(problem, FileNotFoundError) else f": {problem}"
                return here or f"a file just written there is not visible{why}"
        time.sleep(0.2)


def _write_problem(request: dict[str, Any]) -> str:
    try:
        with open(request["answer"], "xb") as file:  # noqa: PTH123 - as above
            file.write(request["token"].encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        return problem.strerror or str(problem)
    scans = os.path.join(request["out"], "scans")  # noqa: PTH118 - as above
    return "" if os.access(scans, os.W_OK | os.X_OK) else "scans/ is not writable"


def _input_problem(path: str, size: int, head: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            same = os.fstat(file.fileno()).st_size == size and hashlib.sha256(file.read(HEAD)).hexdigest() == head
    except OSError as problem:
        return f"does not see {path} ({problem.strerror or problem})"
    return "" if same else f"sees another file as {path}"
