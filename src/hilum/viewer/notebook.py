"""Show a scan in a notebook with the widget of ipyniivue."""

from __future__ import annotations

import math
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from hilum.console import print_result
from hilum.errors import InputError
from hilum.io.volumes.nifti_forms import flip_xy
from hilum.ops.intensity import WINDOW_PRESETS
from hilum.ops.labels import overlay
from hilum.ops.nodules.masks import mask_nodules
from hilum.ops.preview_slices import COLORS
from hilum.ops.resample import resample, resampled_geometry
from hilum.pictures.planes import Drawn, scan_of
from hilum.scan import Scan
from hilum.viewer.label_overlays import make_overlays
from hilum.viewer.scan_view import as_hu
from hilum.viewer.volume_stream import nifti_chunks
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from ipyniivue import NiiVue

    from hilum.geometry import Geometry, Vector

MOST_BYTES = 24_000_000  # of voxels and masks that are sent unasked; a notebook stores 4/3 of them


def show(
    scan: Drawn,
    *,
    window: str | tuple[float, float] = "lung",
    opacity: float = 0.4,
    height: int = 480,
    full: bool = False,
) -> NiiVue:
    """Show a scan in a Jupyter notebook: three planes and a 3-D view, with its lungs, label maps and nodules over them.

    The view is from the feet and from the front (radiological convention). Slices follow the axes of the volume, and
    voxels are not smoothed. The crosshair starts at the first nodule. For a `Scan`, the lung mask is shown if it has
    one (right lung blue, left lung orange, airways green), and nodules (yellow) from its nodule mask, or as
    `mask_nodules` draws them. Label maps have further colors, one for each label. Needs the extra ``notebook``; writes
    no file.

    What is sent to the browser stays in the notebook when it is saved. A scan whose voxels and masks have more than
    24 MB is sent on a coarser grid, and a line says so.

    Parameters
    ----------
    scan : Scan, Volume or RunScan, shape (z, y, x), HU
        int16 is passed on as it is, any other type as float32.
    window : str or (low, high), default "lung"
        A key of `WINDOW_PRESETS`, or the values shown black and white, in the unit of the voxels (HU, or the unit
        range).
    opacity : float, default 0.4
        Opacity of the masks, 0 to 1.
    height : int, default 480
        Height of the widget in pixels.
    full : bool, default False
        Send every voxel, however many there are.

    Returns
    -------
    ipyniivue.NiiVue
        The widget; a notebook shows it if it is the last line of a cell. ``widget.volumes`` are CT, lungs, label maps
        and nodules, if the scan has them.

    Raises
    ------
    InputError
        If the argument is neither a scan nor a volume, a value is out of range, the window would show all voxels in one
        gray, or ipyniivue is not installed.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> widget = hilum.show(scan, window="mediastinum")
    >>> len(widget.volumes)
    2

    In a notebook ``hilum.show(scan)`` is the last line of a cell.
    """
    shown = scan_of(scan)
    shown = replace(shown, ct=as_hu(shown.ct))
    low, high = _limits(window, shown.ct)
    if not 0 <= opacity <= 1:
        raise InputError(f"an opacity of {opacity}, expected 0 to 1", code="option")
    if height < 1:
        raise InputError(f"a height of {height} pixels, expected at least 1", code="option")
    try:
        import ipyniivue
    except ImportError:
        what = "hilum.show needs ipyniivue, which is not installed"
        raise InputError(what, do="pip install 'hilum[notebook]'", code="no-notebook") from None
    widget = ipyniivue.NiiVue(
        height=height, is_radiological_convention=True, is_nearest_interpolation=True, drag_and_drop_enabled=False
    )
    if not full:
        shown = _coarsen(shown)
    image = b"".join(nifti_chunks(shown.ct))
    volumes = [{"data": image, "name": "ct.nii", "colormap": "gray", "cal_min": low, "cal_max": high}]
    volumes += [_overlay(ipyniivue, name, mask, colors, opacity) for name, mask, colors in _masks(shown)]
    if shown.nodules:
        widget.scene.crosshair_pos = _fractions(shown.ct.geometry, shown.nodules[0].center)
    widget.load_volumes(volumes)
    return widget


def _coarsen(scan: Scan) -> Scan:
    """Resample a scan whose voxels have too many bytes, and print what was done."""
    masks = [scan.lungs, (scan.nodules or None) if scan.nodule_mask is None else scan.nodule_mask, *scan.label_maps]
    each = scan.ct.array.itemsize + sum(one is not None for one in masks)
    old = new = scan.ct.geometry
    if (size := scan.ct.array.size * each) <= MOST_BYTES:
        return scan
    while prod(new.shape) * each > MOST_BYTES:  # the finest axes first
        new = resampled_geometry(old, spacing=[max(s, 1.02 * min(new.spacing)) for s in new.spacing])
    was, now = (" x ".join(f"{s:.3g}" for s in grid.spacing) for grid in (old, new))
    print_result(
        f"hilum.show sends {prod(new.shape) * each / 1e6:.0f} MB, voxels of {now} mm, instead of {size / 1e6:.0f} MB, "
        f"voxels of {was} mm; full=True sends all"
    )
    return resample(scan, new.spacing, order="linear")


def _limits(window: str | tuple[float, float], ct: Volume) -> tuple[float, float]:
    """The lower and upper end of the window."""
    if isinstance(window, str):
        if window not in WINDOW_PRESETS:
            raise InputError(f"window preset {window!r} is not one of {', '.join(WINDOW_PRESETS)}", code="option")
        preset = WINDOW_PRESETS[window]
        low, high = preset.center - preset.width / 2, preset.center + preset.width / 2
    else:
        try:
            low, high = map(float, window)
        except (TypeError, ValueError):
            raise InputError(f"a window is a preset's name or (low, high), not {window!r}", code="option") from None
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"a window from {low:g} to {high:g}, expected low below high", code="option")
    least, most = float(ct.array.min()), float(ct.array.max())
    if 0 < most - least < 0.01 * (high - low):  # they have another unit
        what = f"voxels from {least:g} to {most:g} are one gray in a window from {low:g} to {high:g}"
        raise InputError(what, do=f"give window=({least:g}, {most:g}), or the scan in HU", code="option")
    return low, high


def _masks(scan: Scan) -> Iterator[tuple[str, Mask, Mapping[int, tuple[int, ...]]]]:
    """The masks to overlay: name, labels, and the color of each label."""
    sides = dict(enumerate(COLORS[:3], 1))  # of right lung, left lung and airways
    if scan.lungs is not None and scan.lungs.array.any():
        yield "lungs", scan.lungs, sides
    numbers = overlay.number_colors({name: one.values for name, one in scan.label_maps.items()})
    for one in make_overlays(overlay.on_grid(scan.label_maps, scan.ct.geometry)):
        if one.mask is not None:
            yield one.name, one.mask, {value: overlay.COLORS[k] for value, k in numbers[one.name].items()}
    nodules = scan.nodule_mask or (mask_nodules(scan.ct.geometry, scan.nodules) if scan.nodules else None)
    if nodules is not None and nodules.array.any():
        yield "nodules", nodules, dict.fromkeys(range(1, int(nodules.array.max()) + 1), COLORS[3])


def _overlay(
    niivue: ModuleType, name: str, mask: Mask, colors: Mapping[int, tuple[int, ...]], opacity: float
) -> dict[str, Any]:
    """A mask with one color for each label, none for 0."""
    labels = int(mask.array.max())
    table = [part for label in range(labels + 1) for part in ((*colors[label], 255) if label in colors else (0,) * 4)]
    lut = niivue.LUT(lut=table, min=0, max=labels)
    return {"data": b"".join(nifti_chunks(mask)), "name": f"{name}.nii", "opacity": float(opacity), "cal_min": 0.0,
            "cal_max": float(labels), "colormap_label": lut, "colorbar_visible": False}  # fmt: skip


def _fractions(geometry: Geometry, world: Vector) -> list[float]:
    """Convert a point to the widget's crosshair position.

    The position is a fraction of the volume along each of its axes, from edge to edge, with the axes ordered and
    directed by the nearest of right, anterior and head. As in the widget, the file's first axis chooses its nearest
    direction first, then the second axis.
    """
    columns = flip_xy(geometry.affine[:3, :3].T).T[:, ::-1]  # LPS to RAS; (z, y, x) to (x, y, z)
    index, shape = geometry.world_to_index(world)[::-1], geometry.shape[::-1]
    free, position = [0, 1, 2], [0.5, 0.5, 0.5]
    for axis in range(3):
        along = max(free, key=lambda direction: abs(float(columns[direction, axis])))
        free.remove(along)
        fraction = (float(index[axis]) + 0.5) / shape[axis]
        position[along] = min(max(fraction if columns[along, axis] > 0 else 1 - fraction, 0.0), 1.0)
    return position
