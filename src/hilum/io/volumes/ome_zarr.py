"""A volume as .zarr: a folder of Zarr version 3 with the metadata of OME-Zarr 0.5, which viewers open.

The zarr library writes the volume as array ``0``, and at half and quarter size as ``1`` and ``2``, each in one file of
packed chunks; `hilum.io.volumes.zarr_shards` reads it. OME-Zarr 0.5 has a scale and a translation for each axis but no
direction, so the placement is in our own attribute, ``hilum``. Where the array's axes are those of the world, the
translation states it too.

Source: the Zarr core specification version 3; OME-Zarr 0.5.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hilum.errors import OutputError
from hilum.geometry import IDENTITY_DIRECTION, Geometry
from hilum.io.optional_packages import import_extra
from hilum.io.volumes import volume_file, zarr_shards
from hilum.io.volumes.placement import placement_of
from hilum.ops.pyramid import halve
from hilum.volume import Mask, Volume

CHUNK = 48  # edge of the cubes that are packed one by one: measured, as their packing, in decision 0008

_IMAGE = "ct.zarr"  # the image to which a mask in the same folder belongs

LEVELS, SMALL = 3, 96  # the most sizes of a volume, and the longest edge, in voxels, that is not halved again

_COLORS = ((255, 80, 80, 255), (80, 160, 255, 255), (255, 220, 60, 255))
"""Red, green, blue and opacity of the labels 1, 2 and 3 in a viewer."""


def write_zarr(volume: Volume, path: Path, *, series_uid: str = "") -> None:
    """Write a .zarr folder with the geometry in the group's attributes, as `hilum.io.volumes.formats.Format.write`.

    It replaces a Zarr folder of that name, and nothing else.
    """
    from hilum.io.atomic import atomic_folder  # late: reading does not need it

    zarr = import_extra("zarr")
    if path.exists() and not (path / zarr_shards.HEADER).is_file():
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
    """Check that no file is missing: readers of Zarr silently read a missing chunk as zeros."""
    wanted = {zarr_shards.HEADER, *(f"{number}/{part}" for number in range(sizes) for part in ("zarr.json", "c/0/0/0"))}
    if changed := wanted ^ {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}:
        what = f"somebody removed or added {', '.join(sorted(changed)[:3])} while it was being written"
        raise OutputError(what, where=final, do="run it again; let nothing else clean this folder", code="touched")


def read_zarr(path: Path) -> volume_file.VolumeFile:
    """Read a volume or mask that `write_zarr` made, as `hilum.io.volumes.formats.Format.read`."""
    opened = zarr_shards.OpenZarr(path)
    return volume_file.VolumeFile(opened.header, opened.read((0, 0, 0), opened.shape))


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
        config={"write_empty_chunks": True},  # so that an absent chunk is missing, not zero
    )
    array[...] = volume.array


def _attributes(sizes: list[Volume], path: Path, series_uid: str) -> dict[str, Any]:
    """The group's attributes: OME-Zarr's, and our own."""
    is_mask, full = isinstance(sizes[0], Mask), sizes[0].geometry
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    transforms = [_transforms(size.geometry, full) for size in sizes]
    datasets = [{"path": str(n), "coordinateTransformations": one} for n, one in enumerate(transforms)]
    image = {"name": path.stem, "axes": axes, "datasets": datasets, "type": "nearest" if is_mask else "mean"}
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [image]}
    if is_mask and (path.parent / _IMAGE).is_dir():
        colors = [{"label-value": n, "rgba": list(color)} for n, color in enumerate(_COLORS, start=1)]
        ome["image-label"] = {"colors": colors, "source": {"image": f"../{_IMAGE}"}}
    placement = placement_of(sizes[0], series_uid=series_uid)
    return {"ome": ome, zarr_shards.ATTRIBUTE: {**msgspec.to_builtins(placement), "dtype": sizes[0].array.dtype.name}}


def _transforms(size: Geometry, full: Geometry) -> list[dict[str, Any]]:
    """Scale and translation, (z, y, x), mm: in the world if its axes are the array's, else from voxel 0."""
    in_world = np.allclose(full.direction, IDENTITY_DIRECTION, rtol=0, atol=1e-9)
    shift = size.origin[::-1] if in_world else full.world_to_index(size.origin) * np.asarray(full.spacing)
    translation = [float(f"{value:.12g}") + 0.0 for value in shift]
    return [{"type": "scale", "scale": list(size.spacing)}, {"type": "translation", "translation": translation}]
