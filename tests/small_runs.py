"""Tiny scans for tests of runs, and what lies in a run's output."""

from __future__ import annotations

import hilum
from hilum.outputs.ledger import NAME
from hilum.phantom.chest import make_phantom
from hilum.verify import Fault, verify


def write_small(root, count):
    """Write tiny phantoms as volume files."""
    for k in range(count):
        phantom = make_phantom(seed=k, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
        hilum.write(phantom.scan.ct, root / f"1.2.{k}.mhd")
    return root


def content(out):
    """All but the ledger, which holds seconds, and the lock."""
    paths = (path for path in out.rglob("*") if path.is_file() and path.name not in {NAME, ".lock"})
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def faults(out):
    return [found for found in verify(out) if isinstance(found, Fault)]
