"""The kinds of input: how each is recognized, listed and loaded.

`DATASETS` is the whole list. An adapter consists of three functions: one recognizes its kind by the files of a folder,
one lists the scans without reading voxels, and one loads a listed scan.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hilum.datasets import dirlab, dsb2017, folder, lidc, lndb, luna16, luna16_files, luna25, nlst, nnunet, nsclc
from hilum.datasets.listing import Listing
from hilum.io.files import path_exists
from hilum.scan import Scan


@dataclass(frozen=True)
class Dataset:
    """How the scans of one kind of input are recognized, listed and loaded.

    Parameters
    ----------
    recognize : callable
        Whether a folder is of this kind. Fast; must be False for a folder of ordinary scans.
    index : callable
        From the root and the annotation file (or None) to its `Listing`, reading headers and tables only. Raises
        `MissingInputError` if there is no such path or no scan in it, `AnnotationError` or `InputError` if a table
        cannot be read.
    load : callable
        From a `ScanRef` of the listing and ``options``, `hilum.io.read_options.ReadOptions`, to its `Scan`. Raises the
        refusal of the listing, or `InputError` as `hilum.read`.
    reads_csv : bool
        Whether `index` reads a csv of annotations; for other kinds `hilum.datasets.survey` does.
    """

    recognize: Callable[[Path], bool]
    index: Callable[[Path, Path | None], Listing]
    load: Callable[..., Scan]
    reads_csv: bool = True


def _list_folder(root: Path, annotations: Path | None) -> Listing:
    listing = folder.index(root)
    return replace(listing, refs=[replace(ref, annotations=annotations) for ref in listing.refs])


DATASETS: dict[str, Dataset] = {
    "luna16": Dataset(recognize=luna16_files.looks_like_luna16, index=luna16.index, load=luna16.load),
    "dsb2017": Dataset(recognize=dsb2017.recognize, index=dsb2017.index, load=dsb2017.load),
    "lidc": Dataset(recognize=lidc.recognize, index=lidc.index, load=lidc.load, reads_csv=False),
    "nnunet": Dataset(recognize=nnunet.recognize, index=nnunet.index, load=nnunet.load, reads_csv=False),
    "lndb": Dataset(recognize=lndb.recognize, index=lndb.index, load=lndb.load, reads_csv=False),
    "luna25": Dataset(recognize=luna25.recognize, index=luna25.index, load=luna25.load, reads_csv=False),
    "nlst": Dataset(recognize=nlst.recognize, index=nlst.index, load=nlst.load, reads_csv=False),
    "nsclc": Dataset(recognize=nsclc.recognize, index=nsclc.index, load=nsclc.load, reads_csv=False),
    "dirlab": Dataset(recognize=dirlab.recognize, index=dirlab.index, load=dirlab.load, reads_csv=False),
    "folder": Dataset(recognize=lambda _: True, index=_list_folder, load=folder.load, reads_csv=False),
}
"""Every kind of input, by its name for ``--dataset``; ``auto`` takes the first that recognizes the folder."""


def recognize(root: Path) -> str:
    """Recognize the kind of an input.

    Parameters
    ----------
    root : Path
        A file or folder. A single file is a ``folder``, and so is a path that does not exist: listing it raises.

    Returns
    -------
    str
        A key of `DATASETS`.
    """
    kinds = DATASETS.items() if path_exists(root) and root.is_dir() else ()
    return next((name for name, dataset in kinds if dataset.recognize(root)), "folder")
