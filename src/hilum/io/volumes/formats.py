"""The formats in which a run stores its volumes, by name: what each file is called, and how it is opened and read."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hilum.errors import UnsupportedError
from hilum.io.volumes.volume_file import to_scan
from hilum.volume import Mask

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.io.volumes.placement import Placement
    from hilum.scan import Scan


class Format(NamedTuple):
    """A store: its suffix, the files that a volume has at least, its module, and what of that reads it.

    Of ``files`` the first shows that the volume is there; each is the part's name and one of these. ``read`` gives the
    whole volume, ``place`` its placement alone, ``open`` what boxes are read from.
    """

    suffix: str
    files: tuple[str, ...]
    module: str
    read: str
    place: str
    open: str


STORES: dict[str, Format] = {
    "nifti": Format(".nii.gz", (".nii.gz",), "hilum.io.volumes.nifti", "read_nifti_volume", "", "open_nifti"),
    "npy": Format(".npy", (".npy", ".json"), "hilum.io.volumes.npy", "read_npy", "read_npy_placement", "open_npy"),
    "zarr": Format(
        ".zarr",
        (".zarr/zarr.json", ".zarr/0/zarr.json", ".zarr/0/c/0/0/0"),
        "hilum.io.volumes.ome_zarr",
        "read_zarr",
        "read_zarr_placement",
        "OpenZarr",
    ),
    "b2nd": Format(".b2nd", (".b2nd",), "hilum.io.volumes.b2nd", "read_b2nd", "read_b2nd_placement", "OpenB2nd"),
}
"""Every store, by its name in a recipe."""

FORMATS = {name: store.suffix for name, store in STORES.items()}
"""The suffix of volumes and masks, by the format's name in a recipe."""


def read_scan(path: Path) -> Scan:
    """Read a CT from a store, wherever it lies.

    Parameters
    ----------
    path : Path
        With one of the suffixes of `FORMATS`, but for NIfTI, which has a reader of its own.

    Returns
    -------
    Scan
        int16 HU, named by the series UID in it, or after the file.

    Raises
    ------
    InputError
        If it is damaged, not one that hilum wrote, or holds labels; or a package is not installed that it needs.
    """
    volume = function_of(_named_by(path), "read")(path)
    if isinstance(volume, Mask):
        raise UnsupportedError("holds labels, no scan", where=path, do="give the ct beside it")
    return to_scan(np.array(volume.array), volume.geometry, where=path, series_uid=read_placement(path).series_uid)


def read_placement(path: Path) -> Placement:
    """Read where a store puts its voxels.

    Parameters
    ----------
    path : Path
        With one of the suffixes of `FORMATS`, but for NIfTI, whose affine may be none of a grid's.

    Returns
    -------
    Placement

    Raises
    ------
    InputError
        If it is damaged.
    """
    placement: Placement = function_of(_named_by(path), "place")(path)
    return placement


def _named_by(path: Path) -> str:
    return next(name for name, store in STORES.items() if store.place and path.name.lower().endswith(store.suffix))


def function_of(name: str, task: str) -> Any:
    """What a store's module has for a task.

    Parameters
    ----------
    name : str
        A key of `STORES`.
    task : str
        ``read``, ``place`` or ``open``.

    Returns
    -------
    Any
    """
    store = STORES[name]
    return getattr(import_module(store.module), getattr(store, task))
