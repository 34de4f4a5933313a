"""Where the lungs are: one function, a visible table of methods."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hilum.errors import InputError, one_line
from hilum.volume import Mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hilum.volume import Volume

RIGHT, LEFT = 1, 2
"""Labels of the lungs: the patient's right is where LPS x is smaller."""


class Method(Protocol):
    """A way to find the lungs: labels of uint8, shape (z, y, x), on the volume's grid."""

    def __call__(self, volume: Volume, *, fill: bool, workers: int) -> NDArray[np.uint8]: ...  # noqa: D102


def _hilum(volume: Volume, *, fill: bool, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs_hilum import both_lungs

    return both_lungs(volume, fill=fill, workers=workers)


def _tutorial3d(volume: Volume, *, fill: bool, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs_tutorial import largest_pocket

    return largest_pocket(volume.array, fill=fill, workers=workers)


def _tutorial2d(volume: Volume, *, fill: bool, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs2d import lungs_by_slice

    if not fill:
        raise InputError("tutorial2d fills holes in its seventh step", do="leave fill at True", code="option")
    return lungs_by_slice(volume.array, workers=workers)


def _by_model(path: Path, volume: Volume, *, fill: bool, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs_onnx import lungs_by_model

    return lungs_by_model(volume, path=path, fill=fill, workers=workers)


METHODS: dict[str, Method] = {"hilum": _hilum, "tutorial3d": _tutorial3d, "tutorial2d": _tutorial2d}
"""Every method by name. The tutorial's two know no sides and label all with 1."""

MODEL = "onnx:"
"""How the name of a method begins that is a model of the user's; the path of its ONNX file follows."""

WITHOUT_SIDES = frozenset({"tutorial3d", "tutorial2d"})
"""Methods that do not tell right from left."""


def segment_lungs(
    volume: Volume, *, method: str = "hilum", fill: bool = True, dilate_mm: float = 0.0, workers: int = 0
) -> Mask:
    """Label the lungs of a chest CT.

    Parameters
    ----------
    volume : Volume
        HU, int16.
    method : str
        A key of `METHODS`. ``"hilum"`` finds right and left lung from world directions, whatever the order of the
        array's axes (see `hilum.ops.lungs_hilum`); ``"tutorial3d"`` and ``"tutorial2d"`` do what the 2017 tutorial
        does, along axis 0 of the array (see `hilum.ops.lungs_tutorial`, `hilum.ops.lungs2d`); ``"onnx:PATH"`` runs a
        model (see `hilum.ops.lungs_onnx`).
    fill : bool
        Whether vessels, nodules and other solid parts inside the lungs belong to the mask.
    dilate_mm : float, mm
        The mask is grown by this distance at the end (`hilum.ops.morphology.dilate`), for nodules at the wall.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    Mask
        On the volume's grid: 1 right and 2 left for ``"hilum"`` and models, 1 for the tutorial's. Without any
        label where no lung was found: that is the caller's to notice (``not mask.array.any()``).

    Raises
    ------
    InputError
        If the method is unknown, or an option is not one it has.
    """
    if method not in METHODS and not method.startswith(MODEL):
        known = f"{', '.join(METHODS)}, {MODEL}PATH"
        raise InputError(f"no lung method {one_line(method, limit=60)!r}, expected one of {known}", code="method")
    if not (math.isfinite(dilate_mm) and dilate_mm >= 0):
        raise InputError(f"dilate_mm is {dilate_mm}, expected a distance of 0 mm or more", code="radius")
    find = partial(_by_model, Path(method.removeprefix(MODEL))) if method.startswith(MODEL) else METHODS[method]
    mask = Mask(find(volume, fill=fill, workers=workers), volume.geometry)
    if not dilate_mm:
        return mask
    from hilum.ops.morphology import dilate

    return dilate(mask, radius_mm=dilate_mm, workers=workers)
