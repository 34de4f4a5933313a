"""Read a volume file of labels, and check that it lies on its scan."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import AnnotationError, GeometryError, MissingInputError, UnsupportedError, one_line
from hilum.geometry import IDENTITY_DIRECTION, Geometry
from hilum.io import files
from hilum.io.volumes import formats
from hilum.io.volumes.volume_file import VolumeFile
from hilum.ops.labels.shares import label_extents
from hilum.scan import LabelMap, Note
from hilum.scan_ref import LabelGrid
from hilum.volume import Mask

_TOLERANCE = 0.01  # voxels by which two grids may differ and still be the same


def read_label_map(
    path: Path,
    *,
    name: str,
    scan_grid: Geometry,
    values: Sequence[tuple[str, int]] = (),
    grid: LabelGrid = "world",
) -> tuple[LabelMap, tuple[Note, ...]]:
    """Read a label map of a scan.

    Parameters
    ----------
    path : Path
        NIfTI, NRRD or MetaImage, with whole numbers from 0 to 255.
    name : str
        Of the label map. A label without a name is called as the map if it is the only one, else by its value.
    scan_grid : Geometry
        Of the scan as it was read.
    values : sequence of (str, int)
        Names of values. Without them, those in the header count.
    grid : {"world", "voxels"}
        ``"world"`` places the labels by their own geometry. ``"voxels"`` ignores it: voxel (z, y, x) of the file is
        voxel (z, y, x) of the scan, and both need the same shape.

    Returns
    -------
    LabelMap
    tuple of Note
        Codes ``"empty-labels"``, ``"labels-on-voxels"``.

    Raises
    ------
    UnsupportedError
        If the values are not labels.
    GeometryError
        If the file states no geometry and is not on the scan's grid, or its labels do not touch the scan.
    AnnotationError
        If a value is not among the stated ones.
    InputError
        If the file cannot be read.
    """
    file = formats.FORMATS[formats.suffix_of(path)].read(path)
    array = _whole_numbers(file, path)
    notes = []
    if grid == "voxels":
        if array.shape != scan_grid.shape:
            what = f"has {_sizes(array.shape)} voxels, the scan has {_sizes(scan_grid.shape)}"
            raise GeometryError(what, where=path, do="give a label map of the same voxels", code="label-grid")
        mask = Mask(array, scan_grid)
        what = f"{name}: the geometry of its file was ignored: its voxels are the scan's"
        notes.append(Note("labels-on-voxels", what))
    else:
        mask = Mask(array, file.header.geometry)
        _check_place(mask, scan_grid, path)
    present = list(label_extents(mask))
    if not present:
        notes.append(Note("empty-labels", f"{name}: its file marks no voxel"))
    names = _names(name, present, dict(values or file.header.label_names), stated=bool(values), path=path)
    return LabelMap(mask, names), tuple(notes)


def read_mask(path: str | Path) -> Mask:
    """Read a mask: lungs, nodules, or any other labels.

    Parameters
    ----------
    path : str or Path
        A volume file as `hilum.read` takes it, with whole numbers from 0 to 255.

    Returns
    -------
    Mask
        On the file's own grid. It has the names of the labels that the header states, as that of a ``.seg.nrrd`` does.

    Raises
    ------
    UnsupportedError
        If the values are not labels, or the file is no volume file. Regions of DICOM structure sets and segmentations
        need their scan: `hilum.attach_labels` reads them.
    InputError
        If the path does not exist, or the file cannot be read.

    Examples
    --------
    >>> import hilum
    >>> lungs = hilum.read_mask("lungs.nii.gz")
    >>> lungs.shape, int(lungs.array.max())
    ((48, 96, 96), 2)
    """
    path = files.as_path(path)
    if not files.path_exists(path):
        raise MissingInputError("there is no such file or folder", where=path, do="check the path")
    if not formats.is_volume(path):
        do = "hilum.attach_labels(...) reads regions of DICOM files"
        raise UnsupportedError("is no volume file", where=path, do=do)
    file = formats.FORMATS[formats.suffix_of(path)].read(path)
    array = _whole_numbers(file, path, do="hilum.read(...) reads a CT")
    names = {value: one_line(name, limit=64) for name, value in file.header.label_names if 1 <= value <= 255}
    return Mask(array, file.header.geometry, names)


def _whole_numbers(file: VolumeFile, path: Path, *, do: str = "give a label map") -> NDArray[np.uint8]:
    """The voxels as uint8; anything but whole numbers from 0 to 255 is refused."""
    header = file.header
    array: NDArray[Any] = file.array
    if (header.slope, header.intercept) != (1.0, 0.0):
        array = array * header.slope + header.intercept
    if array.dtype != np.uint8:
        low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
        if not (low >= 0 and high <= 255) or (array.dtype.kind == "f" and (array != np.rint(array)).any()):
            what = f"holds values from {low:g} to {high:g}, expected whole numbers from 0 to 255: it is no label map"
            raise UnsupportedError(what, where=path, do=do, code="not-labels")
    return file.on_straight_grid(array.astype(np.uint8, copy=False))


def _check_place(mask: Mask, scan_grid: Geometry, path: Path) -> None:
    """Refuse labels that cannot be placed by their geometry."""
    own = mask.geometry
    if own.isclose(scan_grid, tolerance=_TOLERANCE):
        return
    is_default = own.spacing == (1.0, 1.0, 1.0) and not any(own.origin)
    if is_default and np.allclose(np.abs(own.direction), IDENTITY_DIRECTION):
        what = "states no geometry: voxels of 1 mm from 0 0 0, which are not the scan's"
        do = "if its voxels are those of the scan, give --label-grid voxels"
        raise GeometryError(what, where=path, do=do, code="label-grid")
    if scan_grid.contains(own.index_to_world(np.argwhere(mask.array[::4, ::8, ::8]) * (4, 8, 8))).any():
        return
    index = np.argwhere(mask.array)
    if len(index) and not scan_grid.contains(own.index_to_world(index[:: max(1, len(index) // 100_000)])).any():
        what = "shares no voxel with the scan: its labels lie elsewhere"
        do = "give that of this scan, or --label-grid voxels if its voxels are the scan's"
        raise GeometryError(what, where=path, do=do, code="label-grid")


def _names(name: str, present: Sequence[int], named: Mapping[str, int], *, stated: bool, path: Path) -> dict[str, int]:
    """The name of each value."""
    unnamed = [value for value in present if value not in named.values()]
    if unnamed and stated:
        what = f"holds the values {', '.join(map(str, unnamed[:5]))}, which its data set does not name"
        raise AnnotationError(what, where=path, do="correct the names or the label map", code="unknown-label")
    names = {text: value for text, value in named.items() if 1 <= value <= 255}
    if not names and len(unnamed) == 1:
        return {name: unnamed[0]}
    return names | {str(value): value for value in unnamed}


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
