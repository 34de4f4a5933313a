"""The epoch travels with the index, so that every worker of a loader knows it, however and whenever it was started."""

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

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
    group : int, default 1
        Items that stay together, in their order: those of one scan. The length is a multiple of it.
    """

    def __init__(
        self, length: int, *, seed: int, shuffle: bool = True, rank: int = 0, ranks: int = 1, group: int = 1
    ) -> None:
        if not 0 <= rank < ranks:
            raise InputError(f"rank {rank} of {ranks}: out of range", code="option")
        self.length, self.seed, self.shuffle, self.rank, self.ranks, self.epoch = length, seed, shuffle, rank, ranks, 0
        self.group = group

    def __len__(self) -> int:
        """Items of one process in an epoch."""
        return -(-self.length // (self.group * self.ranks)) * self.group

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Begin an epoch, and yield each item's (epoch, index)."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = draw_order(self.length, self.group, (self.seed, epoch) if self.shuffle else None).reshape(
            -1, self.group
        )
        shared = np.resize(order, (len(self) // self.group * self.ranks, self.group)) if self.length else order
        return iter([(epoch, index) for index in shared[self.rank :: self.ranks].ravel().tolist()])


def draw_order(length: int, group: int, seed: int | tuple[int, int] | None) -> NDArray[np.int64]:
    """Draw an order of indices in which those of a group stay together; without a seed, they are ascending."""
    groups = np.arange(length // group) if seed is None else np.random.default_rng(seed).permutation(length // group)
    return (groups[:, None] * group + np.arange(group)).ravel()


def in_torch_worker() -> bool:
    """Whether this process is a worker of a loader of torch."""
    torch_data = sys.modules.get("torch.utils.data")
    return torch_data is not None and torch_data.get_worker_info() is not None
