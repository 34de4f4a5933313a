"""NSCLC-Radiomics (Lung1) from The Cancer Imaging Archive: DICOM series in folders of patients, LUNG1-001 to LUNG1-422.

Source: https://doi.org/10.7937/K9/TCIA.2015.PF0M9REI. Beside each CT lie an RTSTRUCT and a SEG of the same regions;
`hilum.datasets.structures` takes from them what ``--roi`` names.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hilum.datasets import folder
from hilum.datasets.listing import Listing, entries, id_of_case
from hilum.io.names import public_case

_PATIENT = re.compile(r"LUNG1-[0-9]{3}")

load = folder.load


def recognize(root: Path) -> bool:
    """Whether a folder, or one in it or two levels below, is called as a patient of the data set."""
    return any(_PATIENT.fullmatch(path.name) and path.is_dir() for path in _upper_folders(root))


def index(root: Path, annotations: Path | None = None) -> Listing:  # noqa: ARG001 - there are no tables
    """List the CT series, reading headers only, as `hilum.datasets.Dataset.index`.

    Parameters
    ----------
    root : Path
        A folder that is searched with its subfolders.
    annotations : Path, optional
        Not used.

    Returns
    -------
    Listing
        Ids begin with the patient (``LUNG1-001``), who is the ``case`` of each scan. Structure sets and segmentations
        are listed in ``region_files``.

    Raises
    ------
    InputError
        As `hilum.datasets.folder.index`.
    """
    listing = folder.index(root)
    refs = []
    for ref in listing.refs:
        case = public_case(f"{root.resolve().name}/{ref.path.relative_to(root).as_posix()}")
        scan_id = id_of_case(case, ref.scan_id)
        refs.append(replace(ref, dataset="nsclc", scan_id=scan_id, case=case))
    return replace(listing, refs=refs)


def _upper_folders(root: Path) -> Iterator[Path]:
    """The folder itself, those in it, and those where TCIA's tool puts the patients."""
    yield root.resolve()
    for path in entries(root):
        yield path
        if re.match(r"(?i)nsclc|manifest", path.name) and path.is_dir():
            yield from entries(path)
