"""Scans that misbehave, for processes that have this folder on PYTHONPATH: Python imports this file as it starts.

FAULTS holds ``name=fault`` pairs separated by spaces: what happens when the file of that name is loaded. ``kill`` and
``hang`` never end by themselves; the folder FAULT_PIDS, if there is one, tells that they began: a file named by the
process id.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path


def _tell():
    if folder := os.environ.get("FAULT_PIDS"):
        (Path(folder) / str(os.getpid())).touch()


def _misbehave(fault):
    if fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "kill":
        _tell()
        time.sleep(600)
    elif fault == "hang":
        _tell()
        while True:
            pass
    elif fault == "memory":
        hoard = []
        while True:
            hoard.append(bytearray(os.urandom(1 << 16) * 64))
    elif fault == "full":
        raise OSError(28, "No space left on device")


if faults := dict(pair.split("=") for pair in os.environ.get("FAULTS", "").split()):
    from hilum.datasets import DATASETS

    plain = DATASETS["folder"]

    def _load(ref, **options):
        _misbehave(faults.get(ref.path.name))
        return plain.load(ref, **options)

    DATASETS["folder"] = dataclasses.replace(plain, load=_load)
