"""Time from `hilum view` to the first picture, for the server and the browser.

    python bench/viewer_page.py SCAN [SCAN ...]

Each SCAN is opened five times, each time by a new server and a new Chromium. Prints medians in seconds: ``server``,
from the command to the address that it prints (the scan is read by then); ``browser``, from opening the address to the
first slices; ``page``, the part of it that the page measures; ``3-D``, from opening the address to the 3-D view.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
ROUNDS = 5
MARKS = "Object.fromEntries(performance.getEntriesByType('mark').map(one => [one.name, one.startTime / 1000]))"


def opened(path: str) -> dict[str, float]:
    """Measure one start, in seconds."""
    from browser import browser

    with browser(width=1440, height=900) as page:
        start = time.perf_counter()
        command = [sys.executable, "-m", "hilum.cli", "view", path, "--no-browser"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            address = re.fullmatch(r"(http://\S+)\n", process.stdout.readline() if process.stdout else "")
            if address is None:
                sys.exit(f"hilum view printed no address for {path}")
            served = time.perf_counter()
            page.open(address[1])
            marks = wait_for(page, "hilum:first-picture")
            first = time.perf_counter()
            rendered = wait_for(page, "hilum:render")["hilum:render"]
            process.terminate()
        return {"server": served - start, "browser": first - served, "first picture": first - start,
                "page": marks["hilum:first-picture"], "3-D": rendered}  # fmt: skip


def wait_for(page: object, name: str) -> dict[str, float]:
    """Wait for a mark of the page, and give all its marks."""
    until = time.perf_counter() + 120
    while name not in (marks := page.run(MARKS)):  # type: ignore[attr-defined]
        if time.perf_counter() > until:
            sys.exit(f"{name} never came")
        time.sleep(0.01)
    return marks


def main(paths: list[str]) -> None:
    for path in paths:
        rounds = [opened(path) for _ in range(ROUNDS)]
        medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        print(Path(path).resolve().name, *(f"{name} {seconds:.2f}" for name, seconds in medians.items()), sep="  ")


if __name__ == "__main__":
    main(sys.argv[1:])
