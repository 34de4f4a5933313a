"""The label maps of a shown scan: files that the user names for it, and what the page shows of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.errors import MissingInputError, UnsupportedError
from hilum.io.labels.map_names import map_name
from hilum.io.volumes.formats import is_volume, suffix_of
from hilum.ops.bounding_box import Box
from hilum.ops.labels.overlay import HEX_COLORS, number_colors
from hilum.ops.labels.shares import measure_labels
from hilum.scan import LabelFile, LabelGrid, LabelMap, Scan
from hilum.volume import Mask

_NAMED = re.compile(r"([A-Za-z0-9_-]+)=(.+)")


@dataclass(frozen=True, eq=False)
class Overlay:
    """A label map over a scan.

    Parameters
    ----------
    name : str
    mask : Mask or None
        The box around its labels, on the scan's voxels; None if no voxel is marked.
    labels : tuple of dict
        Of each label ``name``, ``value``, ``ml``, ``color``, and a place in it: ``at``, (x, y, z), LPS mm, or None.
    """

    name: str
    mask: Mask | None
    labels: tuple[dict[str, Any], ...]


def make_overlays(scan: Scan) -> tuple[Overlay, ...]:
    """Cut the label maps of a scan to their labels; they lie on its grid. Sorted by name."""
    numbers = number_colors({name: one.values for name, one in scan.label_maps.items()})
    return tuple(_overlay(name, scan.label_maps[name], colors) for name, colors in numbers.items())


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


def label_files(given: Sequence[str], source: Path, grid: LabelGrid) -> list[LabelFile]:
    """Find the label maps that a user names for one scan.

    Parameters
    ----------
    given : sequence of str
        Each a volume file, with ``NAME=`` in front if the label map shall have that name.
    source : Path
        The scan. Without a name a label map is called as its file; the name of the scan in front of it is left out.
    grid : {"world", "voxels"}
        As in `LabelFile`.

    Returns
    -------
    list of LabelFile

    Raises
    ------
    MissingInputError, UnsupportedError
        If there is no such file, or it is no volume.
    """
    files = []
    for text in given:
        named = None if Path(text).exists() else _NAMED.fullmatch(text)
        name, path = (named[1], Path(named[2])) if named else ("", Path(text))
        if not path.exists():
            raise MissingInputError("there is no such label map", where=path, do="check --labels")
        if not is_volume(path):
            do = "give a file of NIfTI, NRRD or MetaImage"
            raise UnsupportedError("is no label map that hilum reads", where=path, do=do)
        stem, scan = (one.name.removesuffix(suffix_of(one)) for one in (path, source))
        rest = stem.removeprefix(scan).strip("._-")
        files.append(LabelFile(path, "map", map_name(name or rest or stem), grid=grid))
    return files
