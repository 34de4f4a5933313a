"""What a finished scan has besides its volumes: nodules in ``scan.json``, csv files of further locations, a preview.

Nodules are checked against the stored file. ``preview.png`` has small pictures, a PNG of at most 256 colors that is
written without an image library; ``preview.json`` describes them, and has a histogram.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError, InputError, OutputError
from hilum.geometry import Geometry, Vector
from hilum.io.files import read_small
from hilum.io.png import png_bytes
from hilum.io.volumes.formats import STORES, read_header
from hilum.io.volumes.nifti import read_nifti_affine
from hilum.ops.nodules.readings import mean_agreement
from hilum.ops.preview import Panel, Preview
from hilum.ops.preview_slices import LABEL_PALETTE, PALETTE
from hilum.outputs.checksums import RERUN, check_file
from hilum.outputs.records import NoduleRecord, ScanRecord
from hilum.scan import Scan

ROUND_TRIP_VOXELS = 1e-3  # how far a stored nodule inside the volume may be from its annotation, in voxels

LOCATIONS = {
    "candidates": ("candidates.csv", "class"),
    "excluded": ("excluded.csv", "diameter_mm"),
    "marks": ("marks.csv", "label"),
    "few_readers": ("few_readers.csv", "diameter_mm"),
    "small": ("small.csv", "reader"),
    "non_nodules": ("non_nodules.csv", "reader"),
}
"""The file and the fourth column of each kind of location; the first three columns are its world position."""

PICTURE, FACTS = "preview.png", "preview.json"

HU_FROM, HU_TO, HU_STEP = -1104, 1536, 16
"""Range and step of the histogram, in HU: from air, less the overshoot of a cubic spline, to dense bone."""

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


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
        The nodules of the scan, as ``scan.json`` lists them.
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
    """Write a scan's positions other than nodules, one csv for each kind of `LOCATIONS`.

    Parameters
    ----------
    scan : Scan
        The scan.
    folder : Path
        The scan's folder. A kind that the data set does not have gets no file.
    """
    for kind, values in scan.locations.items():
        name, column = LOCATIONS[kind]
        np.savetxt(folder / name, values, "%.10g", ",", header=f"coordX,coordY,coordZ,{column}", comments="")


def read_locations(
    folder: Path, record: ScanRecord, kinds: Sequence[str] = tuple(LOCATIONS)
) -> dict[str, NDArray[np.float64]]:
    """Read the positions other than nodules of a finished scan, given its folder and its ``scan.json``.

    Returns
    -------
    dict of str to ndarray, each shape (n, 4)
        By the keys of `LOCATIONS`: x, y, z in LPS mm, and the number that `LOCATIONS` names. Kinds that the data set
        does not have are left out.

    Raises
    ------
    FormatError
        If a file is damaged or missing.
    """
    locations = {}
    for kind in kinds:
        if (name := LOCATIONS[kind][0]) in record.files:
            try:
                rows = list(csv.reader((folder / name).read_text("ascii").splitlines()))[1:]
                locations[kind] = np.array(rows, np.float64).reshape(-1, 4)
            except (OSError, ValueError) as problem:
                raise FormatError(f"cannot be read: {problem}", where=folder / name) from problem
    return locations


class PreviewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A scan's ``preview.json``: the panels of ``preview.png`` and a histogram of the voxels.

    ``counts`` has bins of ``hu_step`` HU from ``hu_from``; ``below`` and ``above`` count the voxels outside them. The
    ``percentiles`` are exact to one HU. ``cut`` is the HU range to which the recipe clipped the values before.
    """

    width: int
    height: int
    panels: list[Panel]
    hu_from: int
    hu_step: int
    counts: list[int]
    below: int
    above: int
    percentiles: dict[str, float]
    cut: tuple[float, float] | None = None


def write_preview(preview: Preview, folder: Path) -> None:
    """Write a preview into the scan's folder.

    Parameters
    ----------
    preview : Preview
        The pictures.
    folder : Path
        The scan's folder.
    """
    counts = preview.histogram.counts
    first, last = HU_FROM + (1 << 15), HU_TO + (1 << 15)
    rows, columns = preview.pixels.shape
    record = PreviewRecord(
        width=columns,
        height=rows,
        panels=list(preview.panels),
        hu_from=HU_FROM,
        hu_step=HU_STEP,
        counts=counts[first:last].reshape(-1, HU_STEP).sum(axis=1).tolist(),
        below=int(counts[:first].sum()),
        above=int(counts[last:].sum()),
        percentiles={str(p): preview.histogram.percentile(p) for p in PERCENTILES},
        cut=preview.cut,
    )
    palette = LABEL_PALETTE if int(preview.pixels.max()) >= len(PALETTE) else PALETTE
    (folder / PICTURE).write_bytes(png_bytes(preview.pixels, palette))
    (folder / FACTS).write_bytes(msgspec.json.encode(record) + b"\n")


def read_preview(folder: Path, record: ScanRecord) -> tuple[PreviewRecord, bytes] | None:
    """Read a finished scan's preview and compare it with its checksums, given its folder and its ``scan.json``.

    Returns
    -------
    tuple of PreviewRecord and bytes, or None
        The content of ``preview.json`` and of ``preview.png``; None for a scan without a preview.

    Raises
    ------
    FormatError
        If a file is missing or has changed.
    """
    if PICTURE not in record.files or FACTS not in record.files:
        return None
    picture, facts = (_read_checked(folder, name, record) for name in (PICTURE, FACTS))
    try:
        return msgspec.json.decode(facts, type=PreviewRecord), picture
    except msgspec.DecodeError as problem:
        raise FormatError(f"{FACTS} is not a preview: {problem}", where=folder / FACTS) from None


def _read_checked(folder: Path, name: str, record: ScanRecord) -> bytes:
    try:
        check_file(folder, name, record.files[name])
        return read_small(folder / name, limit=1 << 20)
    except InputError as problem:
        raise FormatError(f"{name} {problem.what}", where=folder / name, do=RERUN) from None
