"""The grid of a NIfTI file, which a header states up to three times: as sform, as qform and as pixdim.

Where the sform and pixdim disagree about the spacing, the form that agrees with pixdim is used, or none.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError, GeometryError
from hilum.geometry import Geometry
from hilum.io.volumes.shear import Shear, straighten
from hilum.io.volumes.volume_file import check_steps, geometry_from_steps, unit_notes
from hilum.scan import Note

_UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Millimetres per unit of length, by its NIfTI code: unknown, metre, millimetre, micrometre."""

_ROUNDING = 0.01
"""Spacings that differ by at most this fraction are one spacing, rounded."""

_EXACT = 1e-4
"""A stated spacing that differs by at most this fraction is the very number, in single precision."""

_DO = "find out which spacing is right, and write all forms alike"

_Forms = dict[str, "_Form"]  # by name


class _Form(NamedTuple):
    """A form: its grid, its columns x, y, z, origin in LPS mm, and what is known of its shear."""

    grid: Geometry
    columns: NDArray[np.float64]
    shear: Shear | None = None
    notes: tuple[Note, ...] = ()


def read_geometry(header: Any, shape: tuple[int, ...], path: Path) -> tuple[Geometry, Shear | None, tuple[Note, ...]]:
    """The geometry of the sform, else of the qform: methods 3 and 2 in nifti1.h; method 1 has no orientation.

    Parameters
    ----------
    header : nibabel.Nifti1Header or nibabel.Nifti2Header
        The header that was read.
    shape : tuple of int, (z, y, x)
        Number of voxels along each axis.
    path : Path
        For messages.

    Returns
    -------
    geometry : Geometry
        Straight, of this shape.
    shear : Shear or None
        How the planes have to be shifted on it.
    notes : tuple of Note

    Raises
    ------
    GeometryError
        If no form is set, a form is no grid, or the sform contradicts pixdim and no qform agrees with it.
    FormatError
        If the unit of length is unknown.
    """
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # nifti1.h: a qfac of 0 stands for 1
    if (scale := _UNITS.get(code := int(header["xyzt_units"]) & 7)) is None:
        what = f"header: unit of length {code} is unknown"
        raise FormatError(what, where=path, do="convert it again", code="header")
    forms, notes = _read_forms(header, shape, scale, path)
    if not forms:
        what = "orientation unknown: neither sform nor qform is set"
        raise GeometryError(what, where=path, do="convert it from DICOM again")
    stated = [abs(float(size)) * scale for size in header["pixdim"][1:4]]
    grid, more = _choose(forms, stated, scale, path)
    chosen = next((form for form in forms.values() if form.grid is grid), _Form(grid, np.empty(0)))
    return grid, chosen.shear, (*unit_notes(scale), *notes, *more, *chosen.notes)


def flip_xy(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn LPS vectors into RAS, or RAS into LPS.

    Parameters
    ----------
    vectors : ndarray, shape (..., 3), (x, y, z)
        The vectors to turn; not changed.

    Returns
    -------
    ndarray
        x and y with the opposite sign.
    """
    return vectors * (-1.0, -1.0, 1.0)


def _read_forms(header: Any, shape: tuple[int, ...], scale: float, path: Path) -> tuple[_Forms, list[Note]]:
    """The forms that are set; a qform that is no grid beside a good sform leaves a note."""
    from nibabel.spatialimages import HeaderDataError  # late: slow to load

    forms: _Forms = {}
    for name, form in (("sform", header.get_sform), ("qform", header.get_qform)):
        if header[f"{name}_code"] <= 0:
            continue
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # infinite values are refused below
                columns = flip_xy(form()[:3].T) * scale
            check_steps(columns[2::-1], path)
            steps, origin, shear, sheared = straighten(shape, columns[2::-1], columns[3], path)
            grid = geometry_from_steps(shape, steps=steps, origin=origin.tolist(), where=path)
        except (GeometryError, HeaderDataError, ValueError) as error:
            if forms:
                return forms, [Note("qform-unusable", "the qform is not a valid grid; the sform was used")]
            if isinstance(error, GeometryError):
                raise
            raise GeometryError(f"header: {name}: {error}", where=path, do="convert it again") from error
        forms[name] = _Form(grid, columns, shear, sheared)
    return forms, []


def _choose(forms: _Forms, stated: list[float], scale: float, path: Path) -> tuple[Geometry, tuple[Note, ...]]:
    """The grid of the form that agrees with the stated spacing (x, y, z), and a note where another does not."""
    (name, (grid, columns, shear, _)), qform = next(iter(forms.items())), forms.get("qform")
    if shear is not None and qform is not None and _denies_shear(columns, qform.columns, stated, 2 - shear.axis):
        what = "the sform is sheared, the qform is not, and pixdim is its spacing: the qform was used"
        return qform.grid, (Note("forms-differ", what),)
    agreeing = _agreeing_axes(columns, stated)
    if name == "qform" or all(agreeing) or not all(0 < size < math.inf for size in stated):
        if name == "sform" and qform and (shear is not None or not grid.isclose(qform.grid, tolerance=0.5)):
            return grid, (Note("forms-differ", "sform and qform place the voxels differently; the sform was used"),)
        return grid, ()
    both = f"the sform has a spacing of {_shown(grid.spacing[::-1])} mm, pixdim of {_shown(stated)} mm"
    default = all(math.isclose(size, scale) for size in stated) and (qform is None or _is_upright(qform.columns))
    if default and not any(agreeing):
        what = f"{both}, the default of writers; the sform was used"
    elif qform is not None:
        grid, what = qform.grid, f"{both}; the qform was used, which agrees with pixdim"
    elif _is_upright(columns) and np.allclose(grid.spacing, scale) and not np.any(columns[3]):
        grid = geometry_from_steps(
            grid.shape, steps=columns[2::-1] / scale * np.array(stated[::-1])[:, None], origin=(0, 0, 0), where=path
        )
        return grid, (Note("identity-form", f"{both}: an identity form; pixdim was used, the position is unknown"),)
    else:
        raise GeometryError(f"{both}, and no qform is set", where=path, do=_DO, code="forms-contradict")
    return grid, (Note("forms-differ", what),)


def _denies_shear(sform: NDArray[np.float64], qform: NDArray[np.float64], stated: list[float], column: int) -> bool:
    """Whether pixdim is the step of the qform and not that of the sheared sform; writers store the length of a step."""
    if not 0 < stated[column] < math.inf:
        return False
    of_sform, of_qform = (abs(np.linalg.norm(form[column]) / stated[column] - 1) for form in (sform, qform))
    return bool(of_qform <= _EXACT < of_sform)


def _agreeing_axes(columns: NDArray[np.float64], stated: list[float]) -> list[bool]:
    """For each axis, whether the distance of its voxels, or of its planes, is the stated one."""
    steps = columns[:3]
    along = np.linalg.norm(steps, axis=1)
    areas = [np.linalg.norm(np.cross(steps[k - 2], steps[k - 1])) for k in range(3)]
    across = [abs(np.linalg.det(steps)) / area for area in areas]
    pairs = zip(along.tolist(), across, stated, strict=True)
    return [any(abs(found - size) <= _ROUNDING * size for found in (a, b)) for a, b, size in pairs]


def _is_upright(columns: NDArray[np.float64]) -> bool:
    """Whether x, y and z of the array lie along x, y and z of the patient."""
    steps = columns[:3]
    return not np.any(steps - np.diag(np.diag(steps)))


def _shown(spacing: Sequence[float]) -> str:
    return " x ".join(f"{size:g}" for size in spacing)
