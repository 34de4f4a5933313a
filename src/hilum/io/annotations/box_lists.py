"""Lists of boxes in JSON: the data lists of MONAI's detection, and COCO with a third axis.

MONAI (tutorials, detection, LUNA16): ``training`` and ``validation`` are lists of ``image``, ``box`` and ``label``; a
box is (x, y, z, w, h, d), center and edges (mode ``cccwhd``) in LPS mm, which ``AffineBoxToImageCoordinated`` takes to
the image with ``affine_lps_to_ras=True``. The files of LUNA16's folds that the tutorial names are such lists.

COCO: ``images``, ``annotations`` with ``bbox``, ``categories``. With a third axis a box is (x, y, z, width, height,
depth) in voxels, from its low corner, where 0 is the outer edge of the first voxel. ``hilum export coco3d`` writes such
files and adds ``bbox_world`` in LPS mm, which is read instead: its voxels are those of a run.

nnDetection has no list of positions: its ``instances`` name the classes of a mask.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from hilum.errors import AnnotationError
from hilum.io.annotations.table_rows import (
    FARTHEST,
    LONGEST_EDGE,
    CaseRows,
    NoduleTable,
    TableColumns,
    names_of_id,
)
from hilum.io.files import read_small
from hilum.scan import Axes

_MOST_BYTES = 2**28


class _Box(NamedTuple):
    """Center and edges of a box, each (x, y, z), or one diameter; and its class."""

    center: tuple[float, ...]
    edges: tuple[float, ...]
    label: float


def read_box_list(path: Path, columns: TableColumns) -> NoduleTable:
    """Read a list of boxes.

    Parameters
    ----------
    path : Path
        A .json of one of the kinds above.
    columns : TableColumns
        Only its axes count: those of the boxes, if they are others than the kind has.

    Raises
    ------
    AnnotationError
        If it is no such list, or a box is not six numbers with positive edges.
    """
    try:
        data = msgspec.json.decode(read_small(path, limit=_MOST_BYTES))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnnotationError(f"is not JSON: {error}", where=path, do="write it again") from None
    if columns.named or columns.diameter_mm is not None:
        what = "is a list of boxes, which has no columns"
        raise AnnotationError(what, where=path, do="leave --columns and --diameter-mm out", code="option")
    is_coco = isinstance(data, dict) and all(isinstance(data.get(name), list) for name in ("images", "annotations"))
    cases: dict[str, tuple[str, ...]] = {}
    try:
        axes, boxes = _coco(data, columns, cases, path) if is_coco else _monai(data, columns, cases, path)
    except AnnotationError:  # a ValueError, too
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
        what = f"an image or a box lacks what it needs: {type(error).__name__} {error}"
        raise AnnotationError(what, where=path, do="write it again") from None
    several = len({box.label for _, box in boxes}) > 1
    rows = {key: CaseRows(names) for key, names in cases.items()}
    for key, box in boxes:
        rows[key].rows += 1
        rows[key].add("nodules", box.center, box.edges, {"label": box.label} if several else {})
    return NoduleTable("COCO" if is_coco else "MONAI", axes, rows)


def _monai(
    data: Any, columns: TableColumns, cases: dict[str, tuple[str, ...]], path: Path
) -> tuple[Axes, list[tuple[str, _Box]]]:
    lists = (part for part in data.values() if isinstance(part, list)) if isinstance(data, dict) else ()
    entries = [one for part in lists for one in part if isinstance(one, dict) and {"image", "box"} <= one.keys()]
    if not entries:
        is_classes = isinstance(data, dict) and "instances" in data
        what = "names the classes of a mask, no positions" if is_classes else "is not a list of boxes"
        do = "give the mask itself" if is_classes else "give a data list of MONAI's detection, COCO, or a csv"
        raise AnnotationError(what, where=path, do=do)
    boxes = []
    for entry in entries:
        key, own = str(entry["image"]), entry["box"]
        cases[key] = names_of_id(key)
        labels = entry.get("label") or [0] * len(own)
        for box, label in zip(own, labels, strict=True):
            numbers = _six(box, path)
            boxes.append((key, _Box(numbers[:3], numbers[3:], float(label))))
    return cast("Axes", columns.axes or "lps"), boxes


def _coco(
    data: Any, columns: TableColumns, cases: dict[str, tuple[str, ...]], path: Path
) -> tuple[Axes, list[tuple[str, _Box]]]:
    keys = {}
    for image in data["images"]:
        given = [str(image[name]) for name in ("series_uid", "scan", "file_name") if image.get(name)]
        keys[image["id"]] = given[0]
        cases[given[0]] = tuple(dict.fromkeys(name for text in given for name in names_of_id(text)))
    in_world = bool(data["annotations"]) and all("bbox_world" in one for one in data["annotations"])
    use_world = in_world and not columns.axes.startswith("voxel")
    axes = columns.axes or ("lps" if use_world else "voxel-xyz")
    return cast("Axes", axes), [
        (keys[one["image_id"]], _coco_box(one, path, in_world=use_world, in_voxels=axes.startswith("voxel")))
        for one in data["annotations"]
    ]


def _coco_box(one: dict[str, Any], path: Path, *, in_world: bool, in_voxels: bool) -> _Box:
    numbers = _six(one["bbox_world" if in_world else "bbox"], path)
    edge = 0.5 if in_voxels else 0.0  # COCO counts voxels from the outer edge of the first
    center = tuple(low + size / 2 - edge for low, size in zip(numbers[:3], numbers[3:], strict=True))
    return _Box(center, numbers[3:], float(one["category_id"]))


def _six(box: Any, path: Path) -> tuple[float, ...]:
    """The numbers of a box, three of them edges."""
    if isinstance(box, list) and len(box) == 4:
        what = "has boxes of single slices, which do not say where their slices lie"
        raise AnnotationError(what, where=path, do="give boxes with a third axis")
    numbers = tuple(map(float, box))
    is_box = len(numbers) == 6 and all(map(math.isfinite, numbers)) and max(map(abs, numbers)) <= FARTHEST
    if not is_box or not 0 < min(numbers[3:]) <= max(numbers[3:]) <= LONGEST_EDGE:
        what = f"a box is {list(numbers)[:8]}, expected a position and three positive edges"
        raise AnnotationError(what, where=path, do="write boxes as center and edges (MONAI: cccwhd)")
    return numbers
