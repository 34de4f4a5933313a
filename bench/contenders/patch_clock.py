"""Shared by the contenders of `bench/feed.py`: patches per second and memory, by round."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE, WINDOW, MEAN = 64, (-1000.0, 400.0), 0.25


def resident_mib() -> float:
    """Give the memory of this process, without mapped files, which the system may drop."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


def measure(way: str, take: Callable[[], object], *, seconds: float, rounds: int, patches: int = 1) -> None:
    """Call `take`, which gives a number of patches, for some seconds per round; print one line of JSON."""
    measure_together({way: take}, seconds=seconds, rounds=rounds, patches=patches)


def measure_together(ways: dict[str, Callable[[], object]], *, seconds: float, rounds: int, patches: int = 1) -> None:
    """Measure several ways in turn in every round, so that all of them share its conditions."""
    results: dict[str, tuple[list[float], list[float], list[float]]] = {way: ([], [], []) for way in ways}
    for take in ways.values():
        take()
    for _ in range(rounds):
        for way, take in ways.items():
            rates, costs, memory = results[way]
            started, worked, count = time.perf_counter(), time.process_time(), 0
            while not count or time.perf_counter() - started < seconds:
                take()
                count += patches
            rates.append(count / (time.perf_counter() - started))
            costs.append((time.process_time() - worked) / count * 1000)
            memory.append(resident_mib())
    for way, lists in results.items():
        print_result(way, *lists)


def print_result(way: str, rates: list[float], costs: list[float], memory: list[float]) -> None:
    """Print patches per second, processor ms per patch, and MiB, each by round."""
    print(json.dumps({"way": way, "rates": rates, "costs": costs, "memory": memory}), flush=True)


def forever(loop: Callable[[int], Any]) -> Iterator[Any]:
    """Yield the items of epoch after epoch."""
    epoch = 0
    while True:
        yield from loop(epoch)
        epoch += 1
