"""A volume as .zarr: a folder of Zarr version 3 with the metadata of OME-Zarr 0.5, which viewers open.

Written by the zarr library: the volume as array ``0``, and halves of it as ``1`` and ``2``, each in one file of packed
chunks. Read by `hilum.io.volumes.zarr_shards`. OME-Zarr 0.5 knows scales and a translation along the axes and no
direction, so where the volume lies stands in an attribute of our own, ``hilum``; the translation says it too where the
axes lie along those of the world.

Source: the Zarr core specification version 3; OME-Zarr 0.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from hilum.errors import OutputError, UnsupportedError
from hilum.geometry import IDENTITY_DIRECTION
from hilum.io.atomic import atomic_folder
from hilum.io.optional_packages import need
from hilum.io.volumes.placement import placed_volume, placement_of
from hilum.io.volumes.zarr_shards import ATTRIBUTE, HEADER, OpenZarr, read_zarr_placement
from hilum.ops.pyramid import halve
from hilum.volume import Mask

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.geometry import Geometry
    from hilum.volume import Volume

CHUNK = 48
"""Edge of the cubes that are packed one by one: measured, as their packing, in docs/decisions/0008."""

__all__ = ["OpenZarr", "read_zarr", "read_zarr_placement", "write_zarr"]

_IMAGE = "ct.zarr"
"""What the labels beside it are of."""

LEVELS, SMALL = 3, 96
"""At most so many sizes of the volume; no more where its longest edge is at most `SMALL` voxels."""

_COLORS = ((255, 80, 80, 255), (80, 160, 255, 255), (255, 220, 60, 255))
"""Of the labels 1, 2 and 3 in a viewer."""


def write_zarr(volume: Volume, path: Path, *, series_uid: str = "") -> None:
    """Write a volume or mask as a .zarr folder, its geometry in the group's attributes.

    Parameters
    ----------
    volume : Volume
        Of numbers or bool.
    path : Path
        Ends in .zarr; appears only when complete, and replaces a Zarr folder of that name. The same voxels give the
        same bytes.
    series_uid : str
        Kept in the attributes, where it is a UID.

    Raises
    ------
    UnsupportedError
        If the name does not end in .zarr.
    OutputError
        If the folder cannot be written, or something else has the name.
    InputError
        If zarr is not installed.
    """
    if path.suffix.lower() != ".zarr":
        raise UnsupportedError("a Zarr folder ends in .zarr", where=path)
    zarr = need("zarr")
    if path.exists() and not (path / HEADER).is_file():
        raise OutputError("is in use by something else", where=path, do="choose another name", code="exists")
    sizes = [volume]
    while len(sizes) < LEVELS and max(sizes[-1].shape) > SMALL:
        sizes.append(halve(sizes[-1]))
    with atomic_folder(path) as partial:
        group = zarr.create_group(partial, zarr_format=3, attributes=_attributes(sizes, path, series_uid))
        for number, size in enumerate(sizes):
            _write_array(group, str(number), size)
        _check_files(partial, sizes=len(sizes), final=path)


def _check_files(folder: Path, *, sizes: int, final: Path) -> None:
    """Make sure that all is there: a reader of Zarr takes chunks that are missing for zeros, and says nothing."""
    parts = ("zarr.json", "c/0/0/0")
    wanted = {HEADER, *(f"{number}/{part}" for number in range(sizes) for part in parts)}
    if lost := wanted ^ {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}:
        what = f"somebody removed or added {', '.join(sorted(lost)[:3])} while it was being written"
        raise OutputError(what, where=final, do="run it again; let nothing else clean this folder", code="touched")


def read_zarr(path: Path) -> Volume:
    """Read a volume or mask that `write_zarr` made.

    Parameters
    ----------
    path : Path
        The folder.

    Returns
    -------
    Volume
        A `Mask` where one was written; voxels of the store's own type.

    Raises
    ------
    FormatError, GeometryError, MissingInputError, UnsupportedError
        If a file is damaged or missing, or the folder is not one that hilum wrote.
    InputError
        If zarr is not installed.
    """
    stored = OpenZarr(path)
    return placed_volume(stored.placement, stored.read((0, 0, 0), stored.shape), where=path)


def _write_array(group: Any, name: str, volume: Volume) -> None:
    from zarr.codecs import BloscCodec, Crc32cCodec

    shape = volume.shape
    edges = tuple(min(CHUNK, n) for n in shape)
    array = group.create_array(
        name,
        shape=shape,
        dtype=volume.array.dtype.newbyteorder("<"),
        chunks=edges,
        shards=tuple(-(-n // c) * c for n, c in zip(shape, edges, strict=True)),
        compressors=[BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()],
        fill_value=0,
        dimension_names=["z", "y", "x"],
        config={"write_empty_chunks": True},  # what is not there is missing, not zero
    )
    array[...] = volume.array


def _attributes(sizes: list[Volume], path: Path, series_uid: str) -> dict[str, Any]:
    """The group's attributes: OME-Zarr's, and our own."""
    is_mask = isinstance(sizes[0], Mask)
    ome: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [
            {
                "name": path.stem,
                "axes": [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"],
                "datasets": [
                    {"path": str(n), "coordinateTransformations": _transforms(size.geometry, sizes[0].geometry)}
                    for n, size in enumerate(sizes)
                ],
                "type": "nearest" if is_mask else "mean",
            }
        ],
    }
    if is_mask and (path.parent / _IMAGE).is_dir():
        colors = [{"label-value": n, "rgba": list(color)} for n, color in enumerate(_COLORS, start=1)]
        ome["image-label"] = {"colors": colors, "source": {"image": f"../{_IMAGE}"}}
    placement = placement_of(sizes[0], series_uid=series_uid)
    return {"ome": ome, ATTRIBUTE: {**msgspec.to_builtins(placement), "dtype": sizes[0].array.dtype.name}}


def _transforms(size: Geometry, whole: Geometry) -> list[dict[str, Any]]:
    """Scale and translation, (z, y, x) in mm: in the world's own axes, or else along the array's from its voxel 0."""
    along = np.allclose(whole.direction, IDENTITY_DIRECTION, rtol=0, atol=1e-9)
    if along:
        place = list(reversed(size.origin))
    else:
        place = (whole.world_to_index(size.origin) * np.asarray(whole.spacing)).tolist()
    return [
        {"type": "scale", "scale": list(size.spacing)},
        {"type": "translation", "translation": [float(f"{value:.12g}") + 0.0 for value in place]},
    ]
