"""Run folders that a stranger spoiled, opened by every command that takes one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

TESTS = Path(__file__).resolve().parents[2] / "tests"
WORKERS = 2


def hostile_run(asked: argparse.Namespace, scratch: Path) -> bool:
    """Spoil records, names and links; nothing may be written outside, hang, or end in a traceback."""
    sys.path.insert(0, str(TESTS))
    import hostile_runs

    times = asked.times or 2000
    folders = [hostile_runs.prepare(scratch / str(k)) for k in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        parts = [pool.submit(_supervise, folder, asked.seed, k, times) for k, folder in enumerate(folders)]
        verdicts = [verdict for part in parts for verdict in part.result()]
    bad = sorted(verdict for verdict in verdicts if verdict[2])
    for number, story, defects in bad[:40]:
        print(f"{number}: {story}")
        for defect in defects[:3]:
            print(f"    {defect}")
    kinds = {word: sum(word in " ".join(defects) for _, _, defects in bad) for word in ("outside", "changed", "hung")}
    print(f"{len(verdicts)} spoiled runs, 5 commands each: {len(bad)} with a defect {kinds if bad else ''}")
    return not bad and len(verdicts) == times


def _supervise(folder: Path, seed: int, start: int, stop: int) -> list[tuple[int, str, list[str]]]:
    """Run a worker over its share, and another from the next number on wherever one dies."""
    results = []
    while start < stop:
        words = [sys.executable, str(TESTS / "hostile_runs.py"), *map(str, (folder, seed, start, stop, WORKERS))]
        opening = None
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
            for line in worker.stdout:
                said = json.loads(line)
                opening = said if isinstance(said, int) else None
                if opening is None:
                    results.append(tuple(said))
            complaint = worker.stderr.read()
        if worker.returncode == 0:
            break
        if opening is None:
            raise RuntimeError(f"a worker ended with {worker.returncode}: {complaint[-2000:]}")
        hung = worker.returncode == -signal.SIGALRM
        results.append((opening, "", ["hung" if hung else f"died with {worker.returncode}: {complaint[-300:]}"]))
        start = opening + WORKERS
    return results
