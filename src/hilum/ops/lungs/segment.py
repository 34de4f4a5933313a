"""Segment the lungs: one function and the table of its methods."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError, check_number, one_line
from hilum.ops.arguments import expect, hu_of
from hilum.ops.finite import check_finite
from hilum.scan import BOTH_LUNGS, LUNG_NAMES, SIDE_NAMES, Scan
from hilum.volume import Mask, Volume

Pathology = Literal["include", "exclude"]
Background = Literal["corner", "sides"]


@dataclass(frozen=True)
class LungOptions:
    """The options of the methods; a method refuses options that it does not have.

    Parameters
    ----------
    fill : bool
        Whether holes are filled.
    pathology : {"include", "exclude"}
        Whether diseased lung is included.
    airways : bool
        Whether airways get a label.
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


def _hilum(volume: Volume, options: LungOptions, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs.hilum_method import both_lungs

    gray = options.pathology == "include"
    return both_lungs(volume, fill=options.fill, ground_glass=gray, airways=options.airways, workers=workers)


def _tutorial3d(volume: Volume, options: LungOptions, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs.tutorial3d import largest_pocket

    return largest_pocket(volume.array, fill=options.fill, sides=options.background == "sides", workers=workers)


def _tutorial2d(volume: Volume, options: LungOptions, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs.tutorial2d import lungs_by_slice

    if not options.fill:
        raise InputError("tutorial2d fills holes in its seventh step", do="leave fill at True", code="option")
    return lungs_by_slice(volume.array, workers=workers)


def _by_model(path: Path, volume: Volume, options: LungOptions, workers: int) -> NDArray[np.uint8]:
    from hilum.ops.lungs.onnx import lungs_by_model

    return lungs_by_model(volume, path=path, fill=options.fill, workers=workers)


METHODS: dict[str, Callable[[Volume, LungOptions, int], NDArray[np.uint8]]] = {
    "hilum": _hilum,
    "tutorial3d": _tutorial3d,
    "tutorial2d": _tutorial2d,
}
"""The methods by name: from a volume, options and a number of threads to labels on the volume's grid."""

MODEL = "onnx:"
"""Prefix of a method that is the user's model; the path of its ONNX file follows."""

WITHOUT_SIDES = frozenset({"tutorial3d", "tutorial2d"})
"""Methods that do not separate right and left, and label both 1."""

OPTIONS: dict[str, frozenset[str]] = {
    "hilum": frozenset({"fill", "pathology", "airways"}),
    "tutorial3d": frozenset({"fill", "background"}),
    "tutorial2d": frozenset({"fill"}),
}
"""The options of `LungOptions` that each method has; the others must keep their default."""


def segment_lungs(
    volume: Volume | Scan,
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
    volume : Volume or Scan
        HU, int16.
    method : str, default "hilum"
        A key of `METHODS`. ``"hilum"`` separates right and left by world directions, for any order of the array's axes
        (see `hilum.ops.lungs.hilum_method`). ``"tutorial3d"`` and ``"tutorial2d"`` follow the 2017 tutorial, along
        axis 0 of the array (see `hilum.ops.lungs.tutorial3d`, `hilum.ops.lungs.tutorial2d`). ``"onnx:PATH"`` runs a
        model (see `hilum.ops.lungs.onnx`).
    fill : bool, default True
        Whether vessels, nodules and other solid parts inside the lungs belong to the mask.
    dilate_mm : float, mm, default 0.0
        The mask is dilated by this distance at the end (`hilum.ops.morphology.dilate`), for nodules at the wall.
    pathology : {"include", "exclude"}, default "include"
        ``"hilum"`` only. Whether ground-glass that is brighter than the border of the lungs belongs to the mask.
        Consolidation at the wall and fluid do not: nothing tells them safely from heart, aorta, liver and spleen, and
        the measurements say how much may be missing. Nodules and masses are filled either way.
    airways : bool, default False
        ``"hilum"`` only. Whether the trachea and main bronchi, with their walls, are labeled 3.
    background : {"corner", "sides"}, default "corner"
        ``"tutorial3d"`` only. The air around the patient is connected with the first voxel, as in the tutorial, or
        with any voxel of the four sides of the planes, which helps where the table divides the air.
    workers : int, default 0
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    Mask
        On the volume's grid: 1 right and 2 left for ``"hilum"`` and models, 1 for the tutorial's methods; the mask has
        these names. Empty if no lung was found; the caller should check that (``not mask.array.any()``).

    Raises
    ------
    InputError
        If the method is unknown, the method does not have an option, or a float volume contains NaN or infinity.
    InputTypeError
        If the argument is neither a scan nor a volume of HU.

    Examples
    --------
    >>> import hilum
    >>> from hilum.phantom.chest import make_phantom
    >>> scan = make_phantom(seed=1, shape=(40, 64, 64), spacing=(8.0, 6.0, 6.0)).scan
    >>> hilum.segment_lungs(scan).shape
    (40, 64, 64)
    """
    expect(method, str, "lung method", do=f"give {', '.join(METHODS)} or {MODEL}PATH")
    check_number("dilate_mm", dilate_mm)
    if method not in METHODS and not method.startswith(MODEL):
        known = f"{', '.join(METHODS)}, {MODEL}PATH"
        raise InputError(f"no lung method {one_line(method, limit=60)!r}, expected one of {known}", code="method")
    if not (math.isfinite(dilate_mm) and dilate_mm >= 0):
        raise InputError(f"dilate_mm is {dilate_mm}, expected a distance of 0 mm or more", code="radius")
    ct = hu_of(volume)
    check_finite(ct.array)
    options = LungOptions(fill=fill, pathology=pathology, airways=airways, background=background)
    _check_options(method, options)
    segment = partial(_by_model, Path(method.removeprefix(MODEL))) if method.startswith(MODEL) else METHODS[method]
    names = BOTH_LUNGS if method in WITHOUT_SIDES else LUNG_NAMES if airways else SIDE_NAMES
    mask = Mask(segment(ct, options, workers), ct.geometry, names)
    if not dilate_mm:
        return mask
    from hilum.ops.morphology import dilate

    return dilate(mask, radius_mm=dilate_mm, workers=workers)


def _check_options(method: str, options: LungOptions) -> None:
    """Refuse an option that the method does not have."""
    default = LungOptions()
    for name in ("pathology", "airways", "background"):
        if getattr(options, name) != getattr(default, name) and name not in OPTIONS.get(method, ()):
            do = f"leave it at {getattr(default, name)}"
            raise InputError(f"{method} has no option {name}", do=do, code="option")
