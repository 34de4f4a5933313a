"""The epoch travels with the index, so that every worker of a loader knows it, however and whenever it was started."""

import sys
from collections.abc import Iterator

import numpy as np

from hilum.errors import InputError


class EpochSampler:
    """The indices of a data set for one epoch after the other, each with its epoch; see `PatchDataset.sampler`.

    Each loop over it is an epoch: the first one has the number `epoch`, and the next loop one more.

    Parameters
    ----------
    length : int
        Items of the data set.
    seed : int
        Decides the orders, with the epoch.
    shuffle : bool, default True
        Draw an order for each epoch. False keeps the order of the data set.
    rank : int, default 0
        The number of this process among those that share an epoch.
    ranks : int, default 1
        Processes that share an epoch; all get equally many items, and the last few items may be given twice.
    """

    def __init__(self, length: int, *, seed: int, shuffle: bool = True, rank: int = 0, ranks: int = 1) -> None:
        if not 0 <= rank < ranks:
            raise InputError(f"rank {rank} of {ranks}: out of range", code="option")
        self.length, self.seed, self.shuffle, self.rank, self.ranks, self.epoch = length, seed, shuffle, rank, ranks, 0

    def __len__(self) -> int:
        """Items of one process in an epoch."""
        return (self.length + self.ranks - 1) // self.ranks

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Begin an epoch, and yield each item's (epoch, index)."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
        shared = np.resize(order, len(self) * self.ranks) if self.length else order
        return iter([(epoch, index) for index in shared[self.rank :: self.ranks].tolist()])


def in_torch_worker() -> bool:
    """Whether this process is a worker of a loader of torch."""
    torch_data = sys.modules.get("torch.utils.data")
    return torch_data is not None and torch_data.get_worker_info() is not None
