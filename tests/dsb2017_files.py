"""Phantoms in the folders of the Data Science Bowl 2017."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from hilum.phantom.chest import Phantom
from hilum.phantom.files import write_dicom_series


def write_dsb2017(phantoms: Iterable[Phantom], root: str | Path, *, labels: Mapping[int, int] | None = None) -> Path:
    """Write phantoms as the Data Science Bowl 2017: ``stage1/CASE/`` with a DICOM file per slice, and the labels.

    `labels` gives 1 or 0 by the number of the phantom, from 0; phantoms that are not in it get no row. By default
    phantoms with nodules get 1, others 0.
    """
    target = Path(root)
    rows = []
    for number, phantom in enumerate(phantoms):
        case = hashlib.md5(phantom.scan.series_uid.encode(), usedforsecurity=False).hexdigest()
        write_dicom_series(phantom, target / "stage1" / case)
        if labels is None or number in labels:
            rows.append((case, int(bool(phantom.nodules)) if labels is None else labels[number]))
    with (target / "stage1_labels.csv").open("w", encoding="ascii", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["id", "cancer"])
        table.writerows(rows)
    return target
