"""What every Dask worker must share with the command: the software, the output folder, the input.

A file with a random token in the output folder shows that a worker sees that folder, not another one under the same
path. A file that the worker writes there shows that its results arrive here.
"""

import hashlib
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.batch.cluster import probe
from hilum.batch.identity import model_file
from hilum.batch.task import Task
from hilum.errors import InputError
from hilum.io import atomic, source_files
from hilum.io.unfinished import unfinished_name

CODE = "cluster"  # the code of a worker that does not fulfill the contract

EXACT = ("hilum", "dask", "distributed")  # packages with the same version everywhere; Dask itself requires it

MINOR = ("numpy",)  # packages with the same major and minor version: arrays are sent, and results must not mix

_SAMPLE = 16  # how many scans, evenly spread over the run, each worker checks the input files of

_WAIT_SECONDS = 5.0  # how long both sides wait for a new file; a network file system shows it late


@dataclass(frozen=True)
class Contract:
    """The requirements of one run for its workers."""

    run: str
    out: Path
    probe: Path
    token: str
    inputs: tuple[tuple[str, int, str], ...]
    versions: dict[str, str]
    answers: dict[str, Path] = field(default_factory=dict)

    def request(self, address: str) -> dict[str, Any]:
        """The request to `hilum.batch.cluster.probe.probe_worker` at a worker."""
        self.answers[address] = self.out / unfinished_name()
        return {
            "packages": [*EXACT, *MINOR],
            "hilum": self.versions["hilum"],
            "run": self.run,
            "out": str(self.out),
            "probe": str(self.probe),
            "token": self.token,
            "answer": str(self.answers[address]),
            "inputs": self.inputs,
            "wait_seconds": _WAIT_SECONDS,
        }

    def problem(self, address: str, answer: dict[str, Any]) -> InputError | None:
        """The problem with a worker according to its answer; None without one."""
        what, do = self._software_problem(answer) or self._file_problem(address, answer) or ("", "")
        return InputError(what, where=address, do=do, code=CODE) if what else None

    def _software_problem(self, answer: dict[str, Any]) -> tuple[str, str] | None:
        for name in ("python", *EXACT, *MINOR):
            theirs, ours = answer["versions"][name], self.versions[name]
            if not theirs:
                return f"{name} cannot be imported there", f"install {name} {ours} where the worker runs"
            parts = None if name in EXACT else 2
            if theirs.split(".")[:parts] != ours.split(".")[:parts]:
                return f"the worker has {name} {theirs}, this command {ours}", "give both the same environment"
        broken = f"hilum does not work there: {answer['broken']}", "repair its environment"
        return broken if answer["broken"] else None

    def _file_problem(self, address: str, answer: dict[str, Any]) -> tuple[str, str] | None:
        if answer["out"]:
            what = f"does not see the output folder {self.out} that this command sees: {answer['out']}"
            return what, "mount the same folder there, under the same path"
        if answer["write"]:
            return f"cannot write to {self.out}: {answer['write']}", "let its user write there"
        if not self._arrived(self.answers[address]):
            return f"what it writes to {self.out} does not arrive here", "mount the same folder there"
        return (answer["input"], "mount the input there, under the same path") if answer["input"] else None

    def _arrived(self, path: Path) -> bool:
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            with suppress(OSError):
                if path.read_text(encoding="ascii") == self.token:
                    path.unlink(missing_ok=True)
                    return True
            if time.monotonic() > until:
                return False
            time.sleep(0.2)


@contextmanager
def contract_of(tasks: Sequence[Task], run: str) -> Iterator[Contract]:
    """Create the contract of a run. Its probe file is removed at the end of the block.

    Parameters
    ----------
    tasks : sequence of Task
        At least one, with absolute paths.
    run : str
        The name of the run for its workers.

    Yields
    ------
    Contract

    Raises
    ------
    OutputError
        If the output folder cannot be written.
    """
    out = tasks[0].out
    probe_file, token = out / unfinished_name(), secrets.token_hex(16)  # if this run dies, the next one removes it
    versions = {"python": probe.python(), **{name: probe.version_of(name) for name in (*EXACT, *MINOR)}}
    step = -(-len(tasks) // _SAMPLE)
    inputs = dict.fromkeys(file for task in tasks[::step] for path in _input_files(task) for file in _describe(path))
    contract = Contract(run, out, probe_file, token, tuple(inputs), versions)
    try:
        with atomic.refusing_writes(out):
            probe_file.write_bytes(token.encode())
            yield contract
    finally:
        for path in (probe_file, *contract.answers.values()):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _input_files(task: Task) -> list[Path]:
    """Some input files of a scan: its first and last file, its annotations, its lungs, the model of its recipe."""
    parts = [path for _, path in source_files.list_source_files(task.ref.path)]
    others = task.ref.annotations, task.ref.known.lungs, model_file(task.recipe)
    return [*parts[:1], *parts[-1:], *filter(None, others)]


def _describe(path: Path) -> Iterator[tuple[str, int, str]]:
    """A file's path, size and hash of its head; nothing if it is missing, which making the scan will report."""
    with suppress(OSError), path.open("rb") as file:
        yield str(path), path.stat().st_size, hashlib.sha256(file.read(probe.HEAD)).hexdigest()
