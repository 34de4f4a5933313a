"""Phantoms as files: DICOM series in the dialects of many scanners, and a LUNA16 tree.

`write_dicom_series` speaks every dialect of `hilum.datasets.phantom_dialects`.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hilum.datasets.phantom_anatomy import outside_field
from hilum.datasets.phantom_dialects import DIALECTS, Dialect
from hilum.errors import InputError, OutputError
from hilum.geometry import Geometry, Vector
from hilum.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hilum.datasets.phantom import Phantom


def write_dicom_series(
    source: Phantom | Volume, folder: str | Path, *, dialect: str | Dialect = "plain", series_uid: str = ""
) -> Path:
    """Write a phantom, or any volume of HU, as a series of CT Image Storage files.

    Parameters
    ----------
    source : Phantom or Volume
        Voxels of a phantom outside its field of view become padding where the dialect has one; of a volume those at
        or below -1024 HU.
    folder : str or path
        Made where it is absent; one file for each slice along the array's first axis, of any orientation.
    dialect : str or Dialect
        A key of `DIALECTS`, or a dialect of your own.
    series_uid : str
        The phantom's own without it; for a volume one made from its voxels. The other UIDs are derived from it: the
        same call writes the same bytes.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If the dialect is unknown.
    OutputError
        If the folder is a file, or holds files already: two series in one folder are another phantom.
    """
    from hilum.datasets import phantom_dicom  # late: pydicom is slow to import

    if isinstance(dialect, str):
        if dialect not in DIALECTS:
            raise InputError(f"dialect {dialect!r} is none of {', '.join(DIALECTS)}", code="bad-option")
        dialect = DIALECTS[dialect]
    if isinstance(source, Volume):
        volume, padding = source, source.array <= -1024
    else:
        volume = source.scan.ct
        padding = np.zeros(volume.shape, np.bool_)
        if source.options.field_of_view:
            padding = outside_field(volume.geometry)
        series_uid = series_uid or source.scan.series_uid
    target = _empty_folder(folder)
    phantom_dicom.write_slices(volume, padding, target, dialect=dialect, series_uid=series_uid)
    return target


def _empty_folder(folder: str | Path) -> Path:
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError("is not an empty folder", where=target, do="name a new folder")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made: {error.strerror}", where=target, do="name another folder") from error
    return target


def write_luna16(
    phantoms: Iterable[Phantom], root: str | Path, *, subsets: int = 2, flipped: Collection[int] = (1,)
) -> Path:
    """Write phantoms as LUNA16 lays out its scans.

    Parameters
    ----------
    phantoms : iterable of Phantom
        One scan each, ``subsetK/<series_uid>.mhd`` with its ``.raw``, dealt out over the subsets in turn.
    root : str or path
        Made where it is absent. ``annotations.csv`` lists the nodules: series, center in world mm, diameter in mm.
    subsets : int
        Number of subset folders, all of them made.
    flipped : collection of int
        Which phantoms, counted from 0, are stored with reversed x and y axes: the header's TransformMatrix is
        -1 0 0 0 -1 0 0 0 1 and every voxel keeps its place in the world, as in some scans of LUNA16.

    Returns
    -------
    Path
        The root.

    Raises
    ------
    InputError
        If there is no subset, or two phantoms are the same patient.
    OutputError
        If the root is a file, or holds files already.
    """
    from hilum.io.metaimage import write_metaimage  # late, as all readers and writers of formats

    if subsets < 1:
        raise InputError(f"subsets is {subsets}, expected at least 1", code="bad-option")
    target = _empty_folder(root)
    folders = [target / f"subset{k}" for k in range(subsets)]
    for folder in folders:
        folder.mkdir()
    seen: set[str] = set()
    with (target / "annotations.csv").open("w", encoding="ascii", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"])
        for number, phantom in enumerate(phantoms):
            uid = phantom.scan.series_uid
            if uid in seen:
                raise InputError(f"the phantom of seed {phantom.seed} is given twice", do="use other seeds")
            seen.add(uid)
            ct = reverse_in_plane(phantom.scan.ct) if number in flipped else phantom.scan.ct
            write_metaimage(ct, folders[number % subsets] / f"{uid}.mhd")
            for nodule in phantom.scan.nodules:
                rows.writerow([uid, *(f"{value:.10g}" for value in (*nodule.center, nodule.diameter_mm))])
    return target


def reverse_in_plane(volume: Volume) -> Volume:
    """The same voxels at the same places in the world, counted from the other end of the y and x axes.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    Volume
    """
    nz, ny, nx = volume.shape
    old = volume.geometry
    x, y, z = old.index_to_world((0, ny - 1, nx - 1)).tolist()
    down, back = (_opposite(axis) for axis in old.direction[1:])
    geometry = Geometry((nz, ny, nx), old.spacing, (x, y, z), (old.direction[0], down, back))
    return Volume(np.ascontiguousarray(volume.array[:, ::-1, ::-1]), geometry)


def _opposite(axis: Vector) -> Vector:
    x, y, z = axis
    return 0.0 - x, 0.0 - y, 0.0 - z  # no negative zeros in a header
