"""Phantoms as files: DICOM series in the dialects of many scanners, and the trees of LUNA16 and DSB2017.

`write_dicom_series` speaks every dialect of `hilum.phantom.dicom_dialects`.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import InputError, OutputError
from hilum.geometry import Geometry, Vector
from hilum.phantom.anatomy import outside_field
from hilum.phantom.dicom_dialects import DIALECTS, Dialect
from hilum.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from hilum.phantom.chest import Phantom


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
    from hilum.phantom import dicom  # late: pydicom is slow to import

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
    dicom.write_slices(volume, padding, target, dialect=dialect, series_uid=series_uid)
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
    phantoms: Iterable[Phantom],
    root: str | Path,
    *,
    subsets: int = 2,
    flipped: Collection[int] = (1,),
    candidates: int = 0,
    masks: bool = False,
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
    candidates : int
        Where above 0, ``candidates.csv`` lists every nodule as class 1 and as many places in the lungs, outside the
        nodules, as class 0; and ``annotations_excluded.csv`` the first of those places, with a diameter of -1.
    masks : bool
        Whether ``seg-lungs-LUNA16`` holds the true lungs: 3 left, 4 right, 5 trachea and main bronchi.

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
    if subsets < 1:
        raise InputError(f"subsets is {subsets}, expected at least 1", code="bad-option")
    target = _empty_folder(root)
    for k in range(subsets):
        (target / f"subset{k}").mkdir()
    if masks:
        (target / "seg-lungs-LUNA16").mkdir()
    seen: set[str] = set()
    nodules, places, excluded = list[_Place](), list[_Place](), list[_Place]()
    for number, phantom in enumerate(phantoms):
        uid = phantom.scan.series_uid
        if uid in seen:
            raise InputError(f"the phantom of seed {phantom.seed} is given twice", do="use other seeds")
        seen.add(uid)
        turn = reverse_in_plane if number in flipped else _as_it_is
        _write_scan(phantom, target, f"subset{number % subsets}", turn=turn, masks=masks)
        nodules += [(uid, *nodule.center, nodule.diameter_mm) for nodule in phantom.scan.nodules]
        elsewhere = _lung_places(phantom, candidates)
        places += [(uid, *nodule.center, 1) for nodule in phantom.scan.nodules]
        places += [(uid, *place, 0) for place in elsewhere]
        excluded += [(uid, *place, -1) for place in elsewhere[:1]]
    _write_table(target / "annotations.csv", "diameter_mm", nodules)
    if candidates:
        _write_table(target / "candidates.csv", "class", places)
        _write_table(target / "annotations_excluded.csv", "diameter_mm", excluded)
    return target


def write_dsb2017(phantoms: Iterable[Phantom], root: str | Path, *, labels: Mapping[int, int] | None = None) -> Path:
    """Write phantoms as the Data Science Bowl 2017 lays out its patients.

    Parameters
    ----------
    phantoms : iterable of Phantom
        One patient each: ``stage1/<32 hexadecimal digits>/`` with a DICOM file for each slice.
    root : str or path
        Made where it is absent. ``stage1_labels.csv`` lists id and cancer.
    labels : mapping of int to int, optional
        1 or 0 by the number of the phantom, counted from 0; one that is not there has no row. Without it a phantom
        with nodules is 1.

    Returns
    -------
    Path
        The root.

    Raises
    ------
    OutputError
        If the root is a file, or holds files already.
    """
    target = _empty_folder(root)
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


_Place = tuple[str, float, float, float, float]


def _write_scan(phantom: Phantom, root: Path, folder: str, *, turn: Callable[[Volume], Volume], masks: bool) -> None:
    from hilum.io.volumes.metaimage import write_metaimage  # late, as all readers and writers of formats

    name = f"{phantom.scan.series_uid}.mhd"
    write_metaimage(turn(phantom.scan.ct), root / folder / name)
    if masks:
        labels = np.array([0, 4, 3, 5], np.uint8)[np.where(phantom.airways.array > 0, 3, phantom.lungs.array)]
        write_metaimage(turn(Volume(labels, phantom.lungs.geometry)), root / "seg-lungs-LUNA16" / name)


def _write_table(path: Path, column: str, rows: Iterable[_Place]) -> None:
    with path.open("w", encoding="ascii", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["seriesuid", "coordX", "coordY", "coordZ", column])
        for uid, *numbers in rows:
            table.writerow([uid, *(f"{value:.10g}" for value in numbers)])


def _lung_places(phantom: Phantom, count: int) -> list[tuple[float, float, float]]:
    """Places in the lungs and outside every nodule, drawn from the phantom's seed."""
    grid = phantom.lungs.geometry
    voxels = np.argwhere(phantom.lungs.array > 0)
    centers = grid.index_to_world(voxels) if len(voxels) else np.empty((0, 3))
    for nodule in phantom.scan.nodules:
        centers = centers[np.linalg.norm(centers - nodule.center, axis=1) > nodule.diameter_mm]
    chosen = np.random.default_rng(phantom.seed).permutation(len(centers))[:count]
    return [(x, y, z) for x, y, z in centers[chosen].tolist()]


def _as_it_is(volume: Volume) -> Volume:
    return volume


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
