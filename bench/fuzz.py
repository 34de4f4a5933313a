#!/usr/bin/env python3
"""Damage headers and truncate files of every format, read each in a supervised process, and count the results.

    python bench/fuzz.py --count 20000 --seed 1 --workers 2      the table; status 1 if there is a defect
    python bench/fuzz.py --seed 1 --replay 4711 --save DIR       one input again, its files kept in DIR

A defect is an exception other than HilumError, a crash, more than 10 s or 3 GiB, a message of more than one line, a
warning, printed text, or voxels that changed without a note although no byte that decides them was touched.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))

KINDS = ("read", "changed", "refused", "defect")


class Result(NamedTuple):
    """The result of one input."""

    number: int
    format: str
    kind: str
    reason: str
    story: str


def main(words: list[str] | None = None) -> int:
    """Print the table and every defect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--replay", type=int, help="number of one input")
    parser.add_argument("--save", type=Path, help="folder for the files of defects, or of the input replayed")
    parser.add_argument("--reader", default="hilum:read", help="module:function under test")
    options = parser.parse_args(words)
    if options.replay is not None:
        results = _supervise(options.seed, options.replay, options.replay + 1, 1, options.reader)
        print(*results[0], sep="\n")
        wanted = results
    else:
        with ThreadPoolExecutor(options.workers) as pool:
            parts = [
                pool.submit(_supervise, options.seed, k, options.count, options.workers, options.reader)
                for k in range(options.workers)
            ]
            results = [result for part in parts for result in part.result()]
        _print_table(results)
        wanted = [result for result in results if result.kind == "defect"]
        for number, name, _, reason, story in wanted[:40]:
            print(f"{number} {name}: {reason}\n    {story}")
    if options.save:
        for result in wanted:
            _save(options.seed, result.number, options.save / str(result.number))
    return int(any(result.kind == "defect" for result in results))


def _supervise(seed: int, start: int, stop: int, step: int, reader: str) -> list[Result]:
    """Run a worker on every step-th input; if it dies, start another at the next input."""
    from fuzz_inputs import make

    results: list[Result] = []
    while start < stop:
        words = [sys.executable, str(TESTS / "fuzz_worker.py"), *map(str, (seed, start, stop, step)), reader]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
            reading = None
            for line in worker.stdout or ():
                message = json.loads(line)
                reading = message if isinstance(message, int) else None
                if reading is None:
                    results.append(Result(*message))
            complaint = worker.stderr.read() if worker.stderr else ""
        if worker.returncode == 0:
            break
        if reading is None:
            raise RuntimeError(f"the worker ended with {worker.returncode} between inputs: {complaint[-2000:]}")
        hung = worker.returncode == -signal.SIGALRM
        reason = "read for more than 10 s" if hung else f"the process died with {worker.returncode}"
        mutant = make(seed, reading)
        results.append(Result(reading, mutant.base.name, "defect", reason, mutant.story))
        start = reading + step
    return results


def _print_table(results: list[Result]) -> None:
    counts = Counter((result.format, result.kind) for result in results)
    print(f"{'format':22s}{'inputs':>8s}" + "".join(f"{kind:>9s}" for kind in KINDS))
    formats = list(dict.fromkeys(result.format for result in sorted(results)))
    for name in [*formats, "all"]:
        row = [sum(n for (f, k), n in counts.items() if k == kind and name in {f, "all"}) for kind in KINDS]
        print(f"{name:22s}{sum(row):8d}" + "".join(f"{n:9d}" for n in row))


def _save(seed: int, number: int, folder: Path) -> None:
    from fuzz_inputs import make

    mutant = make(seed, number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in (mutant.base.files | {mutant.name: mutant.data}).items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
