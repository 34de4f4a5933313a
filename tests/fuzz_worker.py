"""Reads hurt inputs and judges each; run as a process of its own, for a crash or a hang must end no more than that.

    python tests/fuzz_worker.py SEED START STOP STEP [READER]

Prints the number of an input before it is read and its verdict after; the caller charges a death to the last number.
READER is ``module:function`` instead of ``hilum:read``, to see that the judge sees.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import unicodedata
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from fuzz_inputs import GRID, SECRET, Base, Mutant, bases, make, truth

from hilum.errors import LINE_LIMIT, HilumError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hilum import Scan

SECONDS = 10
MEMORY = 3 * 2**30


class Verdict(NamedTuple):
    """``read``, ``changed`` (as it may), ``refused`` or ``defect``, and the reason."""

    kind: str
    text: str


class Judge:
    """Holds the unhurt inputs on disk, hurts one file at a time, reads, compares and mends it."""

    def __init__(self, folder: Path, read: Callable[..., Scan]) -> None:
        self.folder, self.read = folder, read
        self.whole: dict[str, Scan] = {}
        for base in bases():
            place = folder / base.name
            place.mkdir()
            for name, data in base.files.items():
                (place / name).write_bytes(data)
            self.whole[base.name] = self._read(base)

    def _read(self, base: Base) -> Scan:
        place = self.folder / base.name
        return self.read(place / base.entry, annotations=place / base.annotations if base.annotations else None)

    def judge(self, mutant: Mutant) -> Verdict:
        """Write, read, compare."""
        victim = self.folder / mutant.base.name / mutant.name
        victim.write_bytes(mutant.data)
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                scan = self._read(mutant.base)
        except HilumError as error:
            return Verdict("defect", bad) if (bad := unfit(str(error))) else Verdict("refused", str(error))
        except BaseException as error:  # noqa: BLE001 - whatever else comes is what is looked for
            return Verdict("defect", f"{type(error).__name__}: {error}"[:300])
        finally:
            victim.write_bytes(mutant.base.files[mutant.name])
        if warned:
            return Verdict("defect", f"a warning: {warned[0].message}")
        return self._compare(mutant, scan)

    def _compare(self, mutant: Mutant, scan: Scan) -> Verdict:
        whole = self.whole[mutant.base.name]
        for text in (scan.series_uid, *(note.text for note in scan.notes), *(note.code for note in scan.notes)):
            if bad := unfit(text):
                return Verdict("defect", bad)
        if scan.ct.array.dtype != np.int16 or scan.ct.array.shape != scan.ct.geometry.shape:
            return Verdict("defect", f"{scan.ct.array.dtype} of {scan.ct.array.shape} for {scan.ct.geometry.shape}")
        same = scan.ct.geometry == whole.ct.geometry and np.array_equal(scan.ct.array, whole.ct.array)
        if same and (mutant.decides or _nodules(scan) == _nodules(whole)):
            return Verdict("read", "")
        noted = {note.code for note in scan.notes} - {note.code for note in whole.notes}
        if mutant.decides or noted:
            return Verdict("changed", ", ".join(sorted(noted)))
        return Verdict("defect", "silently changed")


def _nodules(scan: Scan) -> list[tuple[object, float]]:
    return [(nodule.center, nodule.diameter_mm) for nodule in scan.nodules]


def unfit(text: str) -> str:
    """Why a line may not be shown; empty if it may."""
    if len(text) > LINE_LIMIT:
        return f"a line of {len(text)} characters: {text[:200]!r}"
    if any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in text):
        return f"control characters: {text[:200]!r}"
    return f"tells the patient's name: {text[:200]!r}" if SECRET in text else ""


def check_bases(judge: Judge) -> None:
    """Every unhurt input is read as what it was made of, or the comparison means nothing."""
    for name, scan in judge.whole.items():
        want = truth(scan.ct.shape[1])
        if not np.array_equal(scan.ct.array, want) or not scan.ct.geometry.isclose(
            GRID if want.shape == GRID.shape else scan.ct.geometry
        ):
            raise AssertionError(f"{name} is not read right even unhurt")


def main(words: list[str]) -> int:
    """Judge every STEP-th input from START to STOP."""
    seed, start, stop, step = map(int, words[:4])
    module, _, function = (words[4] if len(words) > 4 else "hilum:read").partition(":")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # before a decoder's process starts and inherits it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "w", buffering=1)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as stray:
        judge = Judge(Path(folder), getattr(import_module(module), function))
        check_bases(judge)
        os.dup2(stray.fileno(), 1)
        os.dup2(stray.fileno(), 2)  # a reader and its decoders print nothing
        said = 0
        for number in range(start, stop, step):
            mutant = make(seed, number)
            print(number, file=out)
            signal.alarm(SECONDS)  # not handled: it ends the process, wherever it hangs
            verdict = judge.judge(mutant)
            signal.alarm(0)
            sys.stdout.flush()
            if (now := os.fstat(stray.fileno()).st_size) > said and verdict.kind != "defect":
                text = os.pread(stray.fileno(), 200, said).decode("utf-8", "replace")
                verdict = Verdict("defect", f"printed {text!r}")
            said = now
            print(json.dumps([number, mutant.base.name, *verdict, mutant.story]), file=out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
