"""Scans that misbehave, for processes that have this folder on PYTHONPATH: Python imports this file as it starts.

FAULTS holds ``name=fault`` pairs separated by spaces: what happens when the file of that name is loaded. ``kill`` waits
for somebody outside, who finds its process id in the folder FAULT_PIDS. ``hang`` makes the file FAULT_BEGAN first.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path


def _misbehave(fault):
    if fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "kill":
        (Path(os.environ["FAULT_PIDS"]) / str(os.getpid())).touch()
        time.sleep(600)
    elif fault == "hang":
        if began := os.environ.get("FAULT_BEGAN"):
            Path(began).touch()
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
