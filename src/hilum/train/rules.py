"""Which scan and which position an item of a data set has."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from hilum.errors import InputError
from hilum.ops.patches.shapes import PatchShape
from hilum.outputs.records import NoduleRecord
from hilum.train.label_maps import NODULES
from hilum.train.open_scans import OpenScan
from hilum.train.positions import PatchPosition, are_far, as_vector, lung_position, nodule_position
from hilum.train.runs import ListedScan

Rule = Literal["nodules", "balanced", "labels", "lungs", "uniform"]  # where patches are; see `PatchDataset`


def check_rule(rule: str, labels: str) -> None:
    """Refuse a rule that does not exist, or that has no label map to draw from."""
    if rule not in get_args(Rule):
        raise InputError(f"there is no rule {rule!r}", do=f"use {', '.join(get_args(Rule))}", code="option")
    if rule == "labels" and labels == NODULES:
        raise InputError("the rule 'labels' has no label map", do="name it, as in labels='tumor'", code="option")


@dataclass(frozen=True, eq=False)
class PositionRule:
    """Draws positions; the parameters are those of `PatchDataset`.

    Parameters
    ----------
    rule, jitter_mm, distance_mm, samples_per_volume
        As there.
    scans : list of ListedScan
        Those in use.
    shape : PatchShape
        Of all patches.
    folder : Path
        The run's, for messages.
    """

    rule: Rule
    scans: list[ListedScan]
    shape: PatchShape
    jitter_mm: float
    distance_mm: float
    samples_per_volume: int
    folder: Path

    @cached_property
    def nodules(self) -> list[tuple[int, list[NoduleRecord]]]:
        """The number of each scan with nodules, and those; or of each nodule's scan, and the one nodule.

        The latter if a scan gives one patch in its turn.
        """
        found = [(k, scan.nodules_inside) for k, scan in enumerate(self.scans) if scan.nodules_inside]
        return found if self.samples_per_volume > 1 else [(k, [one]) for k, several in found for one in several]

    @property
    def uses_nodules(self) -> bool:
        """Whether there are patches at nodules."""
        return self.rule in {"nodules", "balanced"}

    @property
    def once(self) -> int:
        """Items for one turn of each nodule or scan."""
        turns = len(self.nodules) if self.uses_nodules else len(self.scans)
        return turns * self.samples_per_volume * (2 if self.rule == "balanced" else 1)

    def draw(
        self, epoch: int, index: int, generator: np.random.Generator, opened: Callable[[int], OpenScan]
    ) -> tuple[int, PatchPosition]:
        """Draw a scan, by its number, and a position in it.

        All items of a group of `samples_per_volume` have one scan. `opened` gives the volumes of a scan by its number.
        """
        turn, member = divmod(index, self.samples_per_volume)
        balanced = self.rule == "balanced"
        turn, in_lungs = divmod(turn, 2) if balanced else (turn, 0)
        if self.uses_nodules and not in_lungs:
            k, nodules = self.nodules[turn % len(self.nodules)]
            number = (epoch + turn // len(self.nodules)) * self.samples_per_volume + member
            nodule = nodules[number % len(nodules)]
            return k, nodule_position(self.scans[k].geometry, nodule, self.shape, self.jitter_mm, generator)
        k = turn % len(self.scans)
        grid = self.scans[k].geometry
        if self.rule == "uniform":
            voxel = generator.integers(0, grid.shape)
            center, target = as_vector(self.shape.center(voxel)), as_vector(grid.index_to_world(voxel))
            return k, PatchPosition("uniform", center, target)
        if self.rule == "labels":
            return k, opened(k).voxels.position(grid, self.shape, self.jitter_mm, generator)
        for step in range(len(self.scans)):  # if a scan has no such position, the next one takes its turn
            k = (turn + step) % len(self.scans)
            if (lungs := opened(k).lungs) is not None:
                far = partial(are_far, spheres=self.scans[k].nodule_spheres, distance_mm=self.distance_mm)
                position = lung_position(lungs, self.shape, generator, is_far=far if balanced else None)
                if position is not None:
                    return k, position
        what = "no scan has lung voxels that far from its nodules"
        raise InputError(what, where=self.folder, do="use a smaller distance_mm", code="option")
