"""Phantoms as files: DICOM series in many dialects, and the folders of LUNA16."""

import csv
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from hilum.errors import InputError, OutputError
from hilum.io.volumes.metaimage import write_metaimage
from hilum.ops.reorient import permute
from hilum.phantom.anatomy import outside_field
from hilum.phantom.chest import Phantom
from hilum.phantom.dicom_dialects import DIALECTS, Dialect
from hilum.volume import Mask, Volume


def write_dicom_series(
    source: Phantom | Volume, folder: str | Path, *, dialect: str | Dialect = "plain", series_uid: str = ""
) -> Path:
    """Write a phantom, or any volume of HU, as a series of CT Image Storage files.

    Parameters
    ----------
    source : Phantom or Volume
        If the dialect has a padding value, it is set outside the phantom's field of view; in a volume, where voxels
        are -1024 HU or less.
    folder : str or path
        Made if it is missing. Each slice along the first array axis, in any orientation, becomes a file.
    dialect : str or Dialect, default "plain"
        A key of `DIALECTS`, or another dialect.
    series_uid : str
        By default that of the phantom, or one derived from the volume's voxels. All other UIDs are derived from it,
        so that the same call writes the same bytes.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If the dialect is unknown.
    OutputError
        If the folder is a file, or is not empty.

    Examples
    --------
    >>> import hilum
    >>> from hilum.phantom import make_phantom
    >>> from hilum.phantom.files import write_dicom_series
    >>> folder = write_dicom_series(make_phantom(shape=(20, 48, 48)), "series")
    >>> hilum.read(folder).ct.shape
    (20, 48, 48)
    """
    from hilum.phantom import dicom  # imports pydicom

    if isinstance(dialect, str):
        if dialect not in DIALECTS:
            raise InputError(f"dialect is {dialect!r}, expected one of {', '.join(DIALECTS)}", code="bad-option")
        dialect = DIALECTS[dialect]
    if isinstance(source, Volume):
        volume, padding = source, source.array <= -1024
    else:
        volume = source.scan.ct
        clipped = source.options.field_of_view
        padding = outside_field(volume.geometry) if clipped else np.zeros(volume.shape, np.bool_)
        series_uid = series_uid or source.scan.series_uid
    target = _make_empty_folder(folder)
    dicom.write_slices(volume, padding, target, dialect, series_uid)
    return target


def write_structure_set(masks: Mapping[str, Mask], path: str | Path, *, series_uid: str) -> Path:
    """Write masks as a DICOM structure set (RTSTRUCT): the edges of their pixels as contours.

    Parameters
    ----------
    masks : mapping of str to Mask
        By the names of the regions; on the grid of a series that `write_dicom_series` wrote.
    path : str or path
        The file; its folder exists.
    series_uid : str
        Of that series.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> import hilum
    >>> from hilum.phantom.files import write_structure_set
    >>> scan, lungs = hilum.read("scan"), hilum.read_mask("lungs.nii.gz")
    >>> path = write_structure_set({"lungs": lungs}, "lungs.dcm", series_uid=scan.series_uid)
    >>> file = hilum.LabelFile(path, "rtstruct", regions=(("lungs", "lungs"),))
    >>> list(hilum.attach_labels(scan, [file]).label_maps)
    ['lungs']
    """
    from hilum.phantom import structure_sets  # imports pydicom

    structure_sets.write_masks(masks, Path(path), series_uid)
    return Path(path)


def _make_empty_folder(folder: str | Path) -> Path:
    if (target := Path(folder)).exists() and (not target.is_dir() or any(target.iterdir())):
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
    """Write phantoms in the folders of LUNA16.

    Parameters
    ----------
    phantoms : iterable of Phantom
        Each becomes ``subsetK/<series_uid>.mhd`` with its ``.raw``, in the subsets in turn.
    root : str or path
        Made if it is missing. ``annotations.csv`` lists the nodules: series, center in world mm, diameter in mm.
    subsets : int
        Number of subset folders.
    flipped : collection of int
        The numbers of the phantoms, from 0, that are stored with reversed x and y axes, as some scans of LUNA16 are:
        the TransformMatrix is -1 0 0 0 -1 0 0 0 1, and voxels keep their world positions.
    candidates : int
        If above 0, ``candidates.csv`` lists every nodule as class 1, and this number of points in the lungs, outside
        the nodules, as class 0; ``annotations_excluded.csv`` lists the first of these points with a diameter of -1.
    masks : bool
        Write the true lungs to ``seg-lungs-LUNA16``: 3 left, 4 right, 5 trachea and main bronchi.

    Returns
    -------
    Path
        The root.

    Raises
    ------
    InputError
        If there is no subset, or two phantoms have the same seed.
    OutputError
        If the root is a file, or is not empty.
    """
    if subsets < 1:
        raise InputError(f"subsets is {subsets}, expected at least 1", code="bad-option")
    target = _make_empty_folder(root)
    for k in range(subsets):
        (target / f"subset{k}").mkdir()
    if masks:
        (target / "seg-lungs-LUNA16").mkdir()
    uids: set[str] = set()
    nodules, classes, excluded = list[_Row](), list[_Row](), list[_Row]()
    for number, phantom in enumerate(phantoms):
        if (uid := phantom.scan.series_uid) in uids:
            raise InputError(f"the phantom of seed {phantom.seed} is given twice", do="use other seeds")
        uids.add(uid)
        _write_scan(phantom, target, f"subset{number % subsets}", flip=number in flipped, masks=masks)
        points = _points_outside_nodules(phantom, candidates)
        nodules += [(uid, *nodule.center, nodule.diameter_mm) for nodule in phantom.scan.nodules]
        classes += [(uid, *nodule.center, 1) for nodule in phantom.scan.nodules]
        classes += [(uid, *point, 0) for point in points]
        excluded += [(uid, *point, -1) for point in points[:1]]
    _write_table(target / "annotations.csv", "diameter_mm", nodules)
    if candidates:
        _write_table(target / "candidates.csv", "class", classes)
        _write_table(target / "annotations_excluded.csv", "diameter_mm", excluded)
    return target


_Row = tuple[str, float, float, float, float]


def _write_scan(phantom: Phantom, root: Path, folder: str, *, flip: bool, masks: bool) -> None:
    name = f"{phantom.scan.series_uid}.mhd"
    volumes = {folder: phantom.scan.ct}
    if masks:
        labels = np.array([0, 4, 3, 5], np.uint8)[np.where(phantom.airways.array > 0, 3, phantom.lungs.array)]
        volumes["seg-lungs-LUNA16"] = Volume(labels, phantom.lungs.geometry)
    for subfolder, volume in volumes.items():
        write_metaimage(reverse_in_plane(volume) if flip else volume, root / subfolder / name)


def _write_table(path: Path, column: str, rows: Iterable[_Row]) -> None:
    with path.open("w", encoding="ascii", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["seriesuid", "coordX", "coordY", "coordZ", column])
        for uid, *numbers in rows:
            table.writerow([uid, *(f"{value:.10g}" for value in numbers)])


def _points_outside_nodules(phantom: Phantom, count: int) -> list[tuple[float, float, float]]:
    """Draw points in the lungs, outside the nodules, from the phantom's seed."""
    grid = phantom.lungs.geometry
    voxels = np.argwhere(phantom.lungs.array > 0)
    centers = grid.index_to_world(voxels) if len(voxels) else np.empty((0, 3))
    for nodule in phantom.scan.nodules:
        centers = centers[np.linalg.norm(centers - nodule.center, axis=1) > nodule.diameter_mm]
    chosen = np.random.default_rng(phantom.seed).permutation(len(centers))[:count]
    return [(x, y, z) for x, y, z in centers[chosen].tolist()]


def reverse_in_plane(volume: Volume) -> Volume:
    """Reverse the y and x axes of a volume; voxels keep their world positions."""
    return permute(volume, (0, 1, 2), (False, True, True))
