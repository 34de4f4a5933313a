"""Batches of a data set of patches, without a framework."""

from collections.abc import Iterator

import numpy as np

from hilum.errors import InputError
from hilum.train import dataset, folder
from hilum.train.epochs import draw_order


def batches(
    data: dataset.PatchDataset | folder.PatchFolder,
    size: int,
    *,
    seed: int = 0,
    shuffle: bool = True,
    worker: int = 0,
    workers: int = 1,
) -> Iterator[dataset.Item]:
    """Loop over a data set once, in batches, without a framework.

    Parameters
    ----------
    data : PatchDataset or PatchFolder
        The items; anything with a length, whose items are dicts, works.
    size : int
        Items per batch; the last batch may have fewer.
    seed : int, default 0
        Decides the order; give another one for each epoch.
    shuffle : bool
        Draw the order from `seed`; by default true. False keeps the order of the data set.
    worker : int, default 0
        Yield only the batches whose number modulo `workers` is this: so several processes share an epoch.
    workers : int, default 1
        Number of processes that share an epoch.

    Yields
    ------
    dict
        Arrays are stacked along a new first axis; other values are in lists.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> import hilum
    >>> data = hilum.PatchDataset("OUT", size=16)
    >>> [batch["image"].shape for batch in hilum.batches(data, 2)]
    [(2, 16, 16, 16), (2, 16, 16, 16), (1, 16, 16, 16)]
    """
    if size < 1 or not 0 <= worker < workers:
        raise InputError(f"batches of {size}, worker {worker} of {workers}: out of range", code="option")
    order = draw_order(len(data), getattr(data, "samples_per_volume", 1), seed if shuffle else None)
    for first in range(worker * size, len(data), workers * size):
        items = [data[int(index)] for index in order[first : first + size]]
        columns = {name: [item[name] for item in items] for name in items[0]}
        yield {name: np.stack(part) if isinstance(part[0], np.ndarray) else part for name, part in columns.items()}
