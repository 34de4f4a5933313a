"""Patches of 64^3 voxels at random places of one scan on a disk: hilum's stores and the peers that read boxes of files.

A patch of hilum is float32 between 0 and 1 with its mask and positions; those of medrs and nibabel are bare voxels.
"""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

import hilum

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 64


def ways(run: Path, nifti: Path, shape: tuple[int, int, int]) -> dict[str, Callable[[], NDArray[Any]]]:
    """The ways whose module is installed. `run` is a finished run of npy, `nifti` a file on the same grid."""
    places = itertools.cycle(np.random.default_rng(0).integers(0, np.array(shape) - SIZE, (500, 3)).tolist())
    data = hilum.PatchDataset(run, size=SIZE, rule="uniform", window=(-1000.0, 400.0), length=10**6)
    items = itertools.count()
    found: dict[str, Callable[[], NDArray[Any]]] = {"hilum": lambda: data[next(items)]["image"]}
    if find_spec("medrs"):
        import medrs

        def crop() -> NDArray[Any]:
            z, y, x = next(places)
            return np.asarray(medrs.load_cropped(str(nifti), [x, y, z], [SIZE] * 3).to_numpy())

        found["medrs"] = crop

    if find_spec("nibabel"):
        import nibabel

        def box() -> NDArray[Any]:
            z, y, x = next(places)
            whole = nibabel.load(nifti).dataobj
            return np.asarray(whole[x : x + SIZE, y : y + SIZE, z : z + SIZE])

        found["nibabel"] = box
    return found
