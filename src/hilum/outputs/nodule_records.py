"""The nodules in ``scan.json``, checked against the stored file, and the csv files of further locations."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np

from hilum.errors import FormatError, OutputError
from hilum.io.volumes.formats import STORES, read_header
from hilum.io.volumes.nifti_header import read_nifti_affine
from hilum.ops.nodules.readings import mean_agreement
from hilum.outputs.records import NoduleRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.geometry import Geometry, Vector
    from hilum.outputs.records import ScanRecord
    from hilum.scan import Scan

ROUND_TRIP_VOXELS = 1e-3
"""How far a stored nodule inside the volume may be from its annotation, in voxels."""

LOCATIONS = {"candidates": ("candidates.csv", "class"), "excluded": ("excluded.csv", "diameter_mm")}
"""The file and the fourth column of each kind of location; the first three columns are its world position."""

_COORDINATES = ("coordX", "coordY", "coordZ")


def nodule_records(scan: Scan, *, source: Geometry, stored: Path) -> list[NoduleRecord]:
    """Record each nodule, and how far the stored file moves it from its annotation.

    Parameters
    ----------
    scan : Scan
        As it was stored.
    source : Geometry
        The grid of the input.
    stored : Path
        The ct file; its own geometry is read back.

    Returns
    -------
    list of NoduleRecord
        In the order of the scan's nodules.

    Raises
    ------
    OutputError
        If the file moves a nodule inside the volume by more than `ROUND_TRIP_VOXELS`.
    """
    grid, measured = scan.ct.geometry, scan.nodule_figures or ({},) * len(scan.nodules)
    records = [
        NoduleRecord(
            label=number,
            world=nodule.center,
            voxel=cast("Vector", tuple(grid.world_to_index(nodule.center).tolist())),
            source_voxel=cast("Vector", tuple(source.world_to_index(nodule.center).tolist())),
            round_trip_mm=0.0,
            diameter_mm=nodule.diameter_mm,
            inside=bool(grid.contains(nodule.center)),
            voxels=int(figures.get("voxels", 0)),
            mean_hu=figures.get("mean_hu"),
            inside_lungs=figures.get("inside_lungs"),
            readers=len({reading.reader for reading in nodule.readings}),
            agreement=round(mean_agreement(nodule), 4) if len(nodule.readings) > 1 else None,
            scores=dict(nodule.scores),
        )
        for number, (nodule, figures) in enumerate(zip(scan.nodules, measured, strict=True), start=1)
    ]
    return with_round_trips(records, spacing=grid.spacing, stored=stored)


def with_round_trips(nodules: Sequence[NoduleRecord], *, spacing: Sequence[float], stored: Path) -> list[NoduleRecord]:
    """Measure ``round_trip_mm`` of nodules: the distance between each and its position in a stored file, in mm.

    Parameters
    ----------
    nodules : sequence of NoduleRecord
    spacing : sequence of float
        Of the stored grid.
    stored : Path
        As in `nodule_records`; the errors too.

    Returns
    -------
    list of NoduleRecord
    """
    if not nodules:
        return []
    nifti = stored.name.endswith(STORES["nifti"].suffix)
    affine = read_nifti_affine(stored) if nifti else read_header(stored).geometry.affine
    records = []
    for one in nodules:
        position = affine[:3, :3] @ np.asarray(one.voxel, np.float64) + affine[:3, 3]
        error = float(f"{np.linalg.norm(position - one.world):.3g}")
        if one.inside and error > ROUND_TRIP_VOXELS * min(spacing):
            what = f"nodule {one.label} would be stored {error:.3g} mm away from its annotation"
            raise OutputError(what, where=stored.name, do="choose another output format", code="round-trip")
        records.append(msgspec.structs.replace(one, round_trip_mm=error))
    return records


def write_locations(scan: Scan, folder: Path) -> None:
    """Write a scan's candidates and excluded findings, one csv for each kind.

    Parameters
    ----------
    scan : Scan
    folder : Path
        The scan's folder. A kind that the data set does not have gets no file.
    """
    for kind, values in scan.locations.items():
        name, column = LOCATIONS[kind]
        with (folder / name).open("w", encoding="ascii", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow((*_COORDINATES, column))
            rows.writerows(tuple(f"{value:.10g}" for value in row) for row in values.tolist())


def read_locations(folder: Path, record: ScanRecord) -> dict[str, NDArray[np.float64]]:
    """Read the candidates and excluded findings of a finished scan, given its folder and its ``scan.json``.

    Returns
    -------
    dict of str to ndarray, each shape (n, 4)
        By the keys of `LOCATIONS`: x, y, z in LPS mm, and the class or the diameter. Kinds that the data set does not
        have are left out.

    Raises
    ------
    FormatError
        If a file is damaged or missing.
    """
    locations = {}
    for kind, (name, _) in LOCATIONS.items():
        if name in record.files:
            try:
                with (folder / name).open(encoding="ascii", newline="") as file:
                    rows = list(csv.reader(file))[1:]
                locations[kind] = np.array(rows, np.float64).reshape(-1, 4)
            except (OSError, ValueError) as problem:
                raise FormatError(f"cannot be read: {problem}", where=folder / name) from problem
    return locations
