"""The bootstrap: how far a score would vary if other scans had been drawn."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def resample_counts(units: int, samples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Draw as many units as there are, with replacement, again and again.

    Parameters
    ----------
    units : int
        Scans or patients.
    samples : int
        Number of samples.
    seed : int
        The same seed gives the same samples.

    Yields
    ------
    ndarray of int64, shape (units,)
        How often each unit was drawn.
    """
    generator = np.random.default_rng(seed)
    for _ in range(samples):
        yield np.bincount(generator.integers(units, size=units), minlength=units)


def interval(draws: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The 95 % interval: the values at ranks 2.5 % and 97.5 % of each column; empty without draws."""
    if not len(draws):
        return (), ()
    ranked = np.sort(draws, axis=0)
    return tuple(ranked[len(draws) * 25 // 1000].tolist()), tuple(ranked[len(draws) * 975 // 1000].tolist())
