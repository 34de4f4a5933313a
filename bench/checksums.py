"""Run hilum on real scans and print the checksums of all outputs, to see whether a change of the code changes results.

    python bench/checksums.py SHARED [--out FOLDER] > after.txt
    diff before.txt after.txt

SHARED/data holds the scans. Three runs: the recipe `default` as nifti, `luna16` as npy, `tutorial2017` as nifti. Prints
a line with the SHA-256 of each file and each ledger row. Sentences, times, versions and hashes of other files are left
out of JSON first, so that a change of words makes no difference.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from hilum.cli import main as hilum

RUNS = (("default", "nifti"), ("luna16", "npy"), ("tutorial2017", "nifti"))

WORDS = frozenset(
    {"text", "reason", "seconds", "version", "fingerprint", "stamp", "check", "files", "files_stamp", "scan_sha256"}
)
"""Keys whose values are sentences, times or hashes."""


def without_words(value: Any) -> Any:
    """Leave out the keys that may differ between versions with the same results."""
    if isinstance(value, dict):
        return {key: without_words(part) for key, part in value.items() if key not in WORDS}
    return [without_words(part) for part in value] if isinstance(value, list) else value


def checksum(path: Path) -> str:
    """Hash a file with SHA-256; a JSON file without its `WORDS`."""
    data = path.read_bytes()
    if path.suffix == ".json":
        data = json.dumps(without_words(json.loads(data)), sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def ledger_lines(path: Path) -> list[str]:
    """Read the rows of a ledger, without their `WORDS`."""
    rows = [without_words(json.loads(line)) for line in path.read_text().splitlines()]
    for row in rows:
        row["notes"] = [note.partition(":")[0] for note in row.get("notes", ())]
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        for recipe, store in RUNS:
            folder = out / recipe
            words = ["run", str(options.shared / "data"), "--out", str(folder), "--recipe", recipe, "--format", store]
            with contextlib.redirect_stdout(sys.stderr):
                hilum(words)
            for path in sorted((folder / "scans").rglob("*")):
                if path.is_file():
                    print(checksum(path), recipe, path.relative_to(folder))
            for line in ledger_lines(folder / "ledger.jsonl"):
                print(hashlib.sha256(line.encode()).hexdigest(), recipe, "ledger", json.loads(line).get("id"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
