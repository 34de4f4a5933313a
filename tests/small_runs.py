"""Tiny scans for tests of runs, and what lies in a run's output."""

from __future__ import annotations

import gzip
import os

import hilum
from hilum.outputs.ledger import NAME, Ledger, encode_row
from hilum.phantom.chest import make_phantom
from hilum.verify import Fault, verify


def write_small(root, count):
    """Write tiny phantoms as volume files."""
    for k in range(count):
        phantom = make_phantom(seed=k, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
        hilum.write(phantom.scan.ct, root / f"1.2.{k}.mhd")
    return root


def finished_scans(out):
    """The folder and the record of every finished scan of a run."""
    return [(scan.folder, scan.record) for scan in hilum.open_run(out)]


def content(out):
    """All but the ledger, which holds seconds, and the lock."""
    paths = (path for path in out.rglob("*") if path.is_file() and path.name not in {NAME, ".lock"})
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def tree(root):
    """Every file below a folder, by its relative path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def everything(folder):
    """Bytes of every file below a folder, as they are and unpacked, and every name."""
    for root, folders, files in os.walk(folder):
        yield from (os.fsencode(name) for name in (*folders, *files))
        for name in files:
            with open(os.path.join(root, name), "rb") as file:  # noqa: PTH118, PTH123 - with os.walk
                data = file.read()
            yield data
            if data[:2] == b"\x1f\x8b":
                yield gzip.decompress(data)


def faults(out):
    return [found for found in verify(out) if isinstance(found, Fault)]


def append_row(out, row):
    """Add one line to a run's ledger."""
    with Ledger(out) as ledger:
        ledger.append(row)


def rewrite_ledger(out, rows):
    """Replace a run's ledger by these rows."""
    (out / NAME).write_bytes(b"".join(map(encode_row, rows)))
