"""Arrays that nobody can change, without a copy where that is possible."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.errors import InputError


def freeze(array: ArrayLike) -> NDArray[Any]:
    """View numbers as an array that nobody can change.

    Parameters
    ----------
    array : array_like
        An array that owns its memory, or shows the whole of one that does, becomes read-only in place. One that nobody
        can write to is taken as it is; any other is copied.

    Returns
    -------
    ndarray
        A view; numpy lets nobody make a view of what is read-only writable.

    Raises
    ------
    InputError
        If it holds something else than numbers.
    """
    if type(array) is not np.ndarray:
        if isinstance(array, np.ndarray) and hasattr(array, "mask"):
            what = "numpy's masked array has voxels without a value"
            raise InputError(what, do="fill them: array.filled(-1024)", code="type")
        array = np.asarray(array)
    if array.dtype.kind not in "biufc":
        raise InputError(f"voxels are numbers, not {array.dtype}", code="type")
    whole = array if array.base is None else array.base
    if type(whole) is np.ndarray and whole.flags.owndata and whole.flags.writeable and whole.nbytes == array.nbytes:
        whole.flags.writeable = array.flags.writeable = False
    elif not _is_frozen(array):
        array = array.copy(order="K")
        array.flags.writeable = False
    return array.view()  # a view of what is read-only cannot be made writable


def _is_frozen(array: NDArray[Any]) -> bool:
    """Tell whether no array or buffer under an array can be written to."""
    memory: object = array
    while isinstance(memory, np.ndarray):
        if memory.flags.writeable:
            return False
        memory = memory.base
    try:
        return memory is None or memoryview(memory).readonly  # type: ignore[arg-type]  # bytes, a memory map, ...
    except TypeError:  # a library's own memory
        return False
