"""What is known of each kind of input: where its scans lie and how one is loaded.

`DATASETS` is the whole list; an adapter is three functions: one that knows its kind by its shape, one that lists its
scans without reading voxels, and one that loads a listed scan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from hilum.datasets import dsb2017, folder, lidc, luna16

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hilum.datasets.listing import Listing
    from hilum.scan import Scan, ScanRef


class Load(Protocol):
    """How a listed scan is loaded; the options are those of the recipe's section ``read``."""

    def __call__(self, ref: ScanRef, /, *, max_gap_mm: float) -> Scan:
        """Load one scan."""


@dataclass(frozen=True)
class Dataset:
    """How the scans of one kind of input are recognized, listed and loaded.

    Parameters
    ----------
    recognize : callable
        Whether a path has the shape of this kind; quick, and never wrong about a folder of plain scans.
    index : callable
        From the root and the annotation file (or None) to its `Listing`, reading headers and tables only.
    load : callable
        From a `ScanRef` and the options of reading to its `Scan`.
    reads_csv : bool
        Whether `index` reads a csv of annotations itself; for other kinds `hilum.datasets.survey` finds the rows.
    """

    recognize: Callable[[Path], bool]
    index: Callable[[Path, Path | None], Listing]
    load: Load
    reads_csv: bool = True


def _list_folder(root: Path, annotations: Path | None) -> Listing:
    listing = folder.index(root)
    return replace(listing, refs=[replace(ref, annotations=annotations) for ref in listing.refs])


DATASETS: dict[str, Dataset] = {
    "luna16": Dataset(recognize=luna16.recognize, index=luna16.index, load=luna16.load),
    "dsb2017": Dataset(recognize=dsb2017.recognize, index=dsb2017.index, load=dsb2017.load),
    "lidc": Dataset(recognize=lidc.recognize, index=lidc.index, load=lidc.load, reads_csv=False),
    "folder": Dataset(recognize=lambda _: True, index=_list_folder, load=folder.load, reads_csv=False),
}
"""Every kind of input, by the name that ``--dataset`` takes; ``auto`` takes the first that recognizes the path."""


def recognize(root: Path) -> str:
    """Tell the kind of an input by its shape.

    Parameters
    ----------
    root : Path
        A file or folder; one that is not there is a ``folder``, whose refusal says so.

    Returns
    -------
    str
        A key of `DATASETS`.
    """
    return next(name for name, kind in DATASETS.items() if kind.recognize(root))
