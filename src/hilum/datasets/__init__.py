"""What is known of each kind of input: where its scans lie and how one is loaded.

`DATASETS` is the whole list; an adapter is two functions, one that lists scans without reading voxels and one
that loads a listed scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hilum.datasets import folder, lidc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hilum.scan import Scan, ScanRef


class Load(Protocol):
    """How a listed scan is loaded; the options are those of the recipe's section ``read``."""

    def __call__(self, ref: ScanRef, /, *, max_gap_mm: float) -> Scan:
        """Load one scan."""


@dataclass(frozen=True)
class Dataset:
    """How the scans of one kind of input are listed and loaded.

    Parameters
    ----------
    index : callable
        From the root and the annotation file (or None) to a list of `ScanRef`, reading headers only.
    load : callable
        From a `ScanRef` and the options of reading to its `Scan`.
    """

    index: Callable[[Path, Path | None], list[ScanRef]]
    load: Load


DATASETS: dict[str, Dataset] = {
    "folder": Dataset(index=folder.index, load=folder.load),
    "lidc": Dataset(index=lidc.index, load=lidc.load),
}
"""Every kind of input, by the name that ``--dataset`` takes."""
