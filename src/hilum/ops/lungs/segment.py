"""Where the lungs are: one function, a visible table of methods."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from hilum.errors import InputError, one_line
from hilum.ops.finite import check_finite
from hilum.volume import Mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hilum.volume import Volume

RIGHT, LEFT, AIRWAYS = 1, 2, 3
"""Labels: the patient's right is where LPS x is smaller; airways only where they are asked for."""

Pathology = Literal["include", "exclude"]
Background = Literal["corner", "sides"]


@dataclass(frozen=True)
class LungOptions:
    """What a method may be told; a method refuses what it does not have.

    Parameters
    ----------
    fill : bool
    pathology : {"include", "exclude"}
    airways : bool
    background : {"corner", "sides"}
        All as in `segment_lungs`.

    Raises
    ------
    InputError
        If a name is unknown.
    """

    fill: bool = True
    pathology: Pathology = "include"
    airways: bool = False
    background: Background = "corner"

    def __post_init__(self) -> None:
        for name, known in (("pathology", get_args(Pathology)), ("background", get_args(Background))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}, expected {' or '.join(known)}", code="option")


class Method(Protocol):
    """A way to find the lungs: labels of uint8, shape (z, y, x), on the volume's grid."""

    def __call__(self, volume: Volume, options: LungOptions, /, *, workers: int) -> NDArray[np.uint8]: ...  # noqa: D102


def _hilum(volume: Volume, options: LungOptions, /, *, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs.hilum_method import both_lungs

    dense = options.pathology == "include"
    return both_lungs(volume, fill=options.fill, dense=dense, airways=options.airways, workers=workers)


def _tutorial3d(volume: Volume, options: LungOptions, /, *, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs.tutorial3d import largest_pocket

    return largest_pocket(volume.array, fill=options.fill, sides=options.background == "sides", workers=workers)


def _tutorial2d(volume: Volume, options: LungOptions, /, *, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs.tutorial2d import lungs_by_slice

    if not options.fill:
        raise InputError("tutorial2d fills holes in its seventh step", do="leave fill at True", code="option")
    return lungs_by_slice(volume.array, workers=workers)


def _by_model(path: Path, volume: Volume, options: LungOptions, /, *, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs.onnx import lungs_by_model

    return lungs_by_model(volume, path=path, fill=options.fill, workers=workers)


METHODS: dict[str, Method] = {"hilum": _hilum, "tutorial3d": _tutorial3d, "tutorial2d": _tutorial2d}
"""Every method by name. The tutorial's two know no sides and label all with 1."""

MODEL = "onnx:"
"""How the name of a method begins that is a model of the user's; the path of its ONNX file follows."""

WITHOUT_SIDES = frozenset({"tutorial3d", "tutorial2d"})
"""Methods that do not tell right from left."""

OPTIONS: dict[str, frozenset[str]] = {
    "hilum": frozenset({"fill", "pathology", "airways"}),
    "tutorial3d": frozenset({"fill", "background"}),
    "tutorial2d": frozenset({"fill"}),
}
"""Which options of `LungOptions` a method has; the others must be left as they are."""


def segment_lungs(
    volume: Volume,
    *,
    method: str = "hilum",
    fill: bool = True,
    dilate_mm: float = 0.0,
    pathology: Pathology = "include",
    airways: bool = False,
    background: Background = "corner",
    workers: int = 0,
) -> Mask:
    """Label the lungs of a chest CT.

    Parameters
    ----------
    volume : Volume
        HU, int16.
    method : str
        A key of `METHODS`. ``"hilum"`` finds right and left lung from world directions, whatever the order of the
        array's axes (see `hilum.ops.lungs.hilum_method`); ``"tutorial3d"`` and ``"tutorial2d"`` do what the 2017
        tutorial does, along axis 0 of the array (see `hilum.ops.lungs.tutorial3d`, `hilum.ops.lungs.tutorial2d`);
        ``"onnx:PATH"`` runs a model (see `hilum.ops.lungs.onnx`).
    fill : bool
        Whether vessels, nodules and other solid parts inside the lungs belong to the mask.
    dilate_mm : float, mm
        The mask is grown by this distance at the end (`hilum.ops.morphology.dilate`), for nodules at the wall.
    pathology : {"include", "exclude"}
        ``"hilum"`` only. Whether lung that is consolidated or hazy, up to the ribs, belongs to the mask (see
        `hilum.ops.lungs.dense`). Fluid around a lung never does: no air will come back to where it is. Nodules and
        masses are filled either way.
    airways : bool
        ``"hilum"`` only. Whether the windpipe and main bronchi, with their walls, are labeled 3.
    background : {"corner", "sides"}
        ``"tutorial3d"`` only. What the air around the patient is joined with: the first voxel, as in the tutorial, or
        any voxel of the four sides of the planes, as its authors would have it: a tray cuts the air in two.
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
        If the method is unknown, an option is not one it has, or a float volume holds NaN or infinity.
    """
    if method not in METHODS and not method.startswith(MODEL):
        known = f"{', '.join(METHODS)}, {MODEL}PATH"
        raise InputError(f"no lung method {one_line(method, limit=60)!r}, expected one of {known}", code="method")
    if not (math.isfinite(dilate_mm) and dilate_mm >= 0):
        raise InputError(f"dilate_mm is {dilate_mm}, expected a distance of 0 mm or more", code="radius")
    check_finite(volume.array)
    options = LungOptions(fill=fill, pathology=pathology, airways=airways, background=background)
    _refuse_others(method, options)
    find = partial(_by_model, Path(method.removeprefix(MODEL))) if method.startswith(MODEL) else METHODS[method]
    mask = Mask(find(volume, options, workers=workers), volume.geometry)
    if not dilate_mm:
        return mask
    from hilum.ops.morphology import dilate

    return dilate(mask, radius_mm=dilate_mm, workers=workers)


def _refuse_others(method: str, options: LungOptions) -> None:
    """Refuse an option that the method does not have, rather than ignore it."""
    usual = LungOptions()
    for name in ("pathology", "airways", "background"):
        if getattr(options, name) != getattr(usual, name) and name not in OPTIONS.get(method, ()):
            raise InputError(f"{method} has no option {name}", do=f"leave it at {getattr(usual, name)}", code="option")
