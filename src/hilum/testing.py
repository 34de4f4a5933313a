"""Help for testing code that uses hilum: Hypothesis strategies, and a comparison that names the difference."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from hilum.geometry import Geometry
from hilum.volume import Mask, Volume


def assert_same_geometry(got: Geometry, want: Geometry, *, tolerance: float = 1e-3) -> None:
    """Fail with a description of the difference unless two grids have every voxel at the same position.

    Parameters
    ----------
    got, want : Geometry
        The grid to check, and the grid that it should be.
    tolerance : float, voxels, default 0.001
        Largest distance allowed between corresponding corners, as a fraction of a voxel.

    Raises
    ------
    AssertionError

    Examples
    --------
    >>> import hilum
    >>> from hilum.testing import assert_same_geometry
    >>> grid = hilum.Geometry((10, 20, 30), (2.0, 0.5, 0.5))
    >>> assert_same_geometry(grid, grid.crop((1, 0, 0), (11, 20, 30)))
    Traceback (most recent call last):
        ...
    AssertionError: first voxel off by [0.0, 0.0, -2.0] mm, last by [0.0, 0.0, -2.0] mm; spacing (2.0, 0.5, 0.5)
    """
    if got.isclose(want, tolerance=tolerance):
        return
    if got.shape != want.shape:
        raise AssertionError(f"shape (z, y, x) is {got.shape}, not {want.shape}")
    far = np.array(got.shape) - 1
    moved = [np.round(got.index_to_world(i) - want.index_to_world(i), 4).tolist() for i in (far * 0, far)]
    raise AssertionError(f"first voxel off by {moved[0]} mm, last by {moved[1]} mm; spacing {got.spacing}")


def directions(*, oblique: bool = True) -> st.SearchStrategy[tuple[tuple[float, float, float], ...]]:
    """Directions of three axes: permuted, flipped (also left-handed) and optionally rotated.

    Parameters
    ----------
    oblique : bool, default True
        Whether the axes may be oblique to the patient's axes.

    Returns
    -------
    SearchStrategy
        Three unit vectors as `Geometry` takes them.

    Examples
    --------
    >>> from hypothesis import given
    >>> from hilum.testing import directions
    >>> @given(directions(oblique=False))
    ... def check(axes):
    ...     assert len(axes) == 3
    >>> check()
    """
    numbers = st.lists(st.floats(-1, 1).map(lambda v: round(v, 3)), min_size=9, max_size=9)
    rotations = numbers.map(lambda values: np.linalg.qr(np.reshape(values, (3, 3))).Q)

    def build(parts: tuple[NDArray[np.float64], list[int], list[float]]) -> tuple[tuple[float, float, float], ...]:
        axes, order, signs = parts
        return tuple(tuple(axis) for axis in (axes[order] * np.array(signs)[:, None]).tolist())

    signs = st.lists(st.sampled_from([1.0, -1.0]), min_size=3, max_size=3)
    return st.tuples(rotations if oblique else st.just(np.eye(3)), st.permutations([2, 1, 0]), signs).map(build)


@st.composite
def geometries(draw: st.DrawFn, *, max_size: int = 24, min_size: int = 1, oblique: bool = True) -> Geometry:
    """Grids of every handedness and orientation, with spacings from 0.3 to 8 mm.

    Parameters
    ----------
    max_size : int, default 24
        The largest number of voxels along each axis.
    min_size : int, default 1
        The least one.
    oblique : bool, default True
        Whether the axes may be oblique to the patient's axes.

    Returns
    -------
    Geometry

    Examples
    --------
    >>> from hypothesis import given
    >>> from hilum.testing import geometries
    >>> @given(geometries(max_size=4))
    ... def check(grid):
    ...     assert grid.contains(grid.center)
    >>> check()
    """
    sizes = st.integers(min_size, max_size)
    spacings = st.floats(0.3, 8.0).map(lambda v: round(v, 4))
    coordinates = st.floats(-900, 900).map(lambda v: round(v, 3))
    return Geometry(
        shape=draw(st.tuples(sizes, sizes, sizes)),
        spacing=draw(st.tuples(spacings, spacings, spacings)),
        origin=draw(st.tuples(coordinates, coordinates, coordinates)),
        direction=draw(directions(oblique=oblique)),  # type: ignore[arg-type]
    )


@st.composite
def volumes(draw: st.DrawFn, *, max_size: int = 12, min_size: int = 1, oblique: bool = True) -> Volume:
    """CT volumes of noise in Hounsfield units, int16, on random grids.

    Parameters
    ----------
    max_size : int, default 12
        The largest number of voxels along each axis.
    min_size : int, default 1
        The least one.
    oblique : bool, default True
        Whether the axes may be oblique to the patient's axes.

    Returns
    -------
    Volume

    Examples
    --------
    >>> from hypothesis import given
    >>> from hilum.testing import volumes
    >>> @given(volumes(max_size=4))
    ... def check(volume):
    ...     assert volume.array.shape == volume.geometry.shape
    >>> check()
    """
    geometry = draw(geometries(max_size=max_size, min_size=min_size, oblique=oblique))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Volume(noise.integers(-1024, 3072, geometry.shape, dtype=np.int16), geometry)


@st.composite
def masks(draw: st.DrawFn, *, max_size: int = 12, labels: int = 2, oblique: bool = True) -> Mask:
    """Masks of random labels on random grids.

    Parameters
    ----------
    max_size : int, default 12
        The largest number of voxels along each axis.
    labels : int, default 2
        The highest label.
    oblique : bool, default True
        Whether the axes may be oblique to the patient's axes.

    Returns
    -------
    Mask

    Examples
    --------
    >>> from hypothesis import given
    >>> from hilum.testing import masks
    >>> @given(masks(max_size=4, labels=3))
    ... def check(mask):
    ...     assert mask.array.max() <= 3
    >>> check()
    """
    geometry = draw(geometries(max_size=max_size, oblique=oblique))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Mask(noise.integers(0, labels + 1, geometry.shape, dtype=np.uint8), geometry)
