"""The label maps of a shown scan: files that the user names for it, and what the page shows of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from hilum.errors import AnnotationError, MissingInputError, UnsupportedError
from hilum.geometry import Box
from hilum.io.labels.map_names import map_name, split_named
from hilum.io.volumes.formats import is_volume, suffix_of
from hilum.ops.labels.overlay import HEX_COLORS, number_colors
from hilum.ops.labels.shares import measure_labels
from hilum.outputs.finished import LABELS, read_stored
from hilum.outputs.records import ScanRecord
from hilum.scan import LabelMap, Scan
from hilum.scan_ref import LabelFile, LabelGrid
from hilum.volume import Mask


@dataclass(frozen=True, eq=False)
class Overlay:
    """A label map over a scan.

    Parameters
    ----------
    name : str
        The name of the label map.
    mask : Mask or None
        The box around its labels, on the scan's voxels; None if no voxel is marked.
    labels : tuple of dict
        Of each label ``name``, ``value``, ``ml``, ``color``, and a place in it: ``at``, (x, y, z), LPS mm, or None.
    """

    name: str
    mask: Mask | None
    labels: tuple[dict[str, Any], ...]


def make_overlays(label_maps: Mapping[str, LabelMap]) -> tuple[Overlay, ...]:
    """Cut label maps on a scan's grid to their labels; sorted by name."""
    numbers = number_colors({name: one.values for name, one in label_maps.items()})
    return tuple(_overlay(name, label_maps[name], colors) for name, colors in numbers.items())


def read_overlays(
    folder: Path, record: ScanRecord, given: Mapping[str, LabelMap] = MappingProxyType({})
) -> tuple[Overlay, ...]:
    """Read the label maps of a finished scan one after another, so that memory holds one whole map at a time.

    Those that are given are shown with them. They are on the scan's grid, and have other names.
    """
    stored = {name: one.values for name, one in record.label_maps.items()}
    overlays = []
    for name, colors in number_colors(stored | {name: one.values for name, one in given.items()}).items():
        if name in given:
            overlays.append(_overlay(name, given[name], colors))
        elif (volume := read_stored(folder, record, f"{LABELS}/{name}")) is not None:
            label_map = LabelMap(Mask(volume.array, volume.geometry), record.label_maps[name].values)
            overlays.append(_overlay(name, label_map, colors))
    return tuple(overlays)


def _overlay(name: str, label_map: LabelMap, colors: dict[int, int]) -> Overlay:
    mask = label_map.mask
    extents = {value: one for value, one in measure_labels(mask.array, workers=0).items() if value in colors}
    labels = []
    for label, value in sorted(label_map.values.items(), key=lambda item: item[1]):
        voxels = extents[value].voxels if value in extents else 0
        ml = voxels * mask.geometry.voxel_volume / 1000
        at = _place_in(mask, value, extents[value].box) if voxels else None
        labels.append({"name": label, "value": value, "ml": ml, "color": HEX_COLORS[colors[value]], "at": at})
    if not extents:
        return Overlay(name, None, tuple(labels))
    sides = list(zip(*(one.box for one in extents.values()), strict=True))
    start, stop = [min(s.start for s in side) for side in sides], [max(s.stop for s in side) for side in sides]
    part = mask.crop(start, stop)
    return Overlay(name, Mask(np.array(part.array), part.geometry), tuple(labels))  # a copy: the rest can be freed


def _place_in(mask: Mask, value: int, box: Box) -> list[float]:
    """The world position of the voxel of a label that is nearest to its middle, on the plane where it is largest."""
    inside = mask.array[box] == value
    plane = int(np.count_nonzero(inside, axis=(1, 2)).argmax())
    pixels = np.argwhere(inside[plane])
    row, column = pixels[np.linalg.norm(pixels - pixels.mean(axis=0), axis=1).argmin()].tolist()
    z, y, x = (side.start for side in box)
    at: list[float] = mask.geometry.index_to_world((z + plane, y + row, x + column)).tolist()
    return at


def label_files(
    given: Sequence[str], source: Path, scan: Scan, *, grid: LabelGrid, rois: Sequence[str]
) -> list[LabelFile]:
    """Find the label maps and regions that a user names for one scan.

    Parameters
    ----------
    given : sequence of str
        Each a volume file, with ``NAME=`` in front if the label map shall have that name, or a DICOM structure set or
        segmentation.
    source : Path
        Where the scan was read. Without a name a label map is called as its file; the name of the scan in front of it
        is left out.
    scan : Scan
        The scan.
    grid : {"world", "voxels"}
        As in `LabelFile`.
    rois : sequence of str
        The regions to take, as `hilum.datasets.structures` describes them; all of the given files if there are none.

    Returns
    -------
    list of LabelFile

    Raises
    ------
    InputError
        If there is no such file, it is no label map, or no region belongs to the scan.
    """
    from hilum.datasets.structures import regions_alone  # data sets take half a second to import

    files, inputs = [], [source]
    for text in given:
        name, where = split_named(text)
        path = Path(where)
        if not path.exists():
            raise MissingInputError("there is no such label map", where=path, do="check --labels")
        if is_volume(path):
            files.append(map_file(path, name, source.name.removesuffix(suffix_of(source)), grid=grid))
        elif path.is_file() and not name and regions_alone(path):
            inputs.append(path)
        else:
            do = "give a file of NIfTI, NRRD or MetaImage, or a DICOM structure set or segmentation"
            raise UnsupportedError("is no label map that hilum reads", where=path, do=do)
    return files + (_regions(inputs, scan, rois or ("*",)) if rois or len(inputs) > 1 else [])


def map_file(path: Path, name: str, scan_name: str, *, grid: LabelGrid) -> LabelFile:
    """A volume file as a label map; without a name it is called as its file, without the scan's name in front."""
    stem = path.name.removesuffix(suffix_of(path))
    begins = stem.startswith((f"{scan_name}.", f"{scan_name}_", f"{scan_name}-"))
    return LabelFile(path, "map", map_name(name or (stem[len(scan_name) + 1 :] if begins else stem)), grid=grid)


def _regions(inputs: Sequence[Path], scan: Scan, rois: Sequence[str]) -> list[LabelFile]:
    """The files of the chosen regions that belong to a scan."""
    from hilum.datasets.survey import survey

    refs = survey(inputs, rois=rois).refs
    fitting = next((ref for ref in refs if ref.series_uid == scan.series_uid and ref.label_files), None)
    if refused := next((ref.known.refusal for ref in refs if ref.series_uid == scan.series_uid), None):
        raise refused
    if fitting is None:
        what = "none of the chosen regions belongs to this scan"
        raise AnnotationError(what, where=inputs[0], do="choose its series with --series", code="no-regions")
    return list(fitting.label_files)
