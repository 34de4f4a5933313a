"""What every Dask worker has to share with the command: the software, the output folder, the input.

A file with a random token in the output folder shows whether a worker sees that folder, and not another one under the
same path; a file that the worker writes beside it shows that what it makes arrives here.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hilum
from hilum.batch.cluster import probe
from hilum.errors import HilumError, InputError
from hilum.io.atomic import write_refused
from hilum.io.source_files import list_source_files
from hilum.io.unfinished import unfinished_name
from hilum.ops.lungs.segment import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hilum.batch.task import Task

CODE = "cluster"
"""The code of a worker that does not keep the contract."""

EXACT = ("hilum", "dask", "distributed")
"""Packages that have the same version everywhere; Dask asks so of itself."""

MINOR = ("numpy",)
"""Packages of which the first two numbers of the version are the same: arrays travel, and results do not mix."""

_SAMPLE = 16
"""Scans whose input files are looked at by each worker, evenly spread over the run."""

_PATIENCE = 5.0
"""Seconds for which a new file is waited for on either side: a network file system shows it a little late."""

_FRESH = 0.2
"""Seconds between two looks for such a file."""


@dataclass(frozen=True)
class Contract:
    """What the workers of one run are held to."""

    run: str
    out: Path
    probe: Path
    token: str
    inputs: tuple[tuple[str, int, str], ...]
    versions: dict[str, str]
    answers: dict[str, Path] = field(default_factory=dict)

    def question(self, address: str) -> dict[str, Any]:
        """What `hilum.batch.cluster.probe.look` is asked at a worker."""
        self.answers[address] = _hidden(self.out)
        return {
            "packages": [*EXACT, *MINOR],
            "hilum": self.versions["hilum"],
            "run": self.run,
            "out": str(self.out),
            "probe": str(self.probe),
            "token": self.token,
            "answer": str(self.answers[address]),
            "inputs": self.inputs,
            "patience": _PATIENCE,
        }

    def judge(self, address: str, found: dict[str, Any]) -> InputError | None:
        """What is wrong with a worker, by its answer; None where nothing is."""
        what, do = self._software(found) or self._folders(address, found) or ("", "")
        return InputError(what, where=address, do=do, code=CODE) if what else None

    def _software(self, found: dict[str, Any]) -> tuple[str, str] | None:
        theirs, ours = found["versions"], self.versions
        for name in ("python", *EXACT, *MINOR):
            if not theirs[name]:
                return f"{name} cannot be imported there", f"install {name} {ours[name]} where the worker runs"
            exact = name in EXACT
            if (theirs[name] if exact else _minor(theirs[name])) != (ours[name] if exact else _minor(ours[name])):
                return (
                    f"the worker has {name} {theirs[name]}, this command {ours[name]}",
                    "give both the same environment",
                )
        return (f"hilum does not work there: {found['broken']}", "mend its environment") if found["broken"] else None

    def _folders(self, address: str, found: dict[str, Any]) -> tuple[str, str] | None:
        if found["out"]:
            what = f"does not see the output folder {self.out} that this command sees: {found['out']}"
            return what, "mount the same folder there, under the same path"
        if found["write"]:
            return f"cannot write to {self.out}: {found['write']}", "let its user write there"
        if not self._arrived(self.answers[address]):
            return f"what it writes to {self.out} does not arrive here", "mount the same folder there"
        if found["input"]:
            return found["input"], "mount the input there, under the same path"
        return None

    def _arrived(self, answer: Path) -> bool:
        until = time.monotonic() + _PATIENCE
        while True:
            with suppress(OSError):
                if answer.read_text(encoding="ascii") == self.token:
                    answer.unlink(missing_ok=True)
                    return True
            if time.monotonic() > until:
                return False
            time.sleep(_FRESH)


@contextmanager
def contract_of(tasks: Sequence[Task], run: str) -> Iterator[Contract]:
    """Hold a contract for the time of the block: the probe lies in the output folder, and is removed at its end.

    Parameters
    ----------
    tasks : sequence of Task
        With absolute paths, at least one.
    run : str
        The name that the run has for its workers.

    Yields
    ------
    Contract

    Raises
    ------
    OutputError
        If the output folder cannot be written.
    """
    out = tasks[0].out
    probe_file, token = _hidden(out), secrets.token_hex(16)
    versions = {"python": probe.python(), **{name: probe.version_of(name) for name in (*EXACT, *MINOR)}}
    versions["hilum"] = hilum.__version__
    step = -(-len(tasks) // _SAMPLE)
    inputs = dict.fromkeys(known for task in tasks[::step] for path in _files(task) for known in _known(path))
    made = Contract(run, out, probe_file, token, tuple(inputs), versions)
    try:
        probe_file.write_text(token, encoding="ascii")
        yield made
    except HilumError:
        raise
    except OSError as problem:
        raise write_refused("", problem, where=out) from None
    finally:
        for path in (probe_file, *made.answers.values()):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _hidden(out: Path) -> Path:
    """A new name, of the form that the next run sweeps away if this one dies."""
    return out / unfinished_name()


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _files(task: Task) -> Iterator[Path]:
    """Where a scan's input lies: its first and its last file, its annotations, its lungs, the model of its recipe."""
    known, method = task.ref.known, task.recipe.lungs.method
    parts = [path for _, path in list_source_files(task.ref.path)]
    yield from (*parts[:1], *parts[-1:])
    for path in (task.ref.annotations, known.lungs if known is not None else None):
        if path is not None:
            yield path
    if method.startswith(MODEL):
        yield Path(method.removeprefix(MODEL))


def _known(path: Path) -> Iterator[tuple[str, int, str]]:
    """A file as it is here; nothing where it is not there, which is the scan's to tell."""
    with suppress(OSError), path.open("rb") as file:
        yield str(path), path.stat().st_size, hashlib.sha256(file.read(probe.HEAD)).hexdigest()
