"""Patches for a training loop, as ``torch.utils.data.DataLoader`` and any other loop over indices take them.

Plain Python: a length, an item by its index, a dict of numpy arrays and plain values. A data set can be pickled, and
opens its files where it is used. Nothing here imports torch.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from hilum.errors import InputError, MissingInputError
from hilum.ops.patches.boxes import patch_start
from hilum.ops.patches.poses import Pose
from hilum.train.augment import Augment, boxes_of
from hilum.train.intensity import choose_scaling
from hilum.train.places import Nodules, Place, check_jitter, lung_place, nodule_place, nodules_of
from hilum.train.runs import check_files, list_run
from hilum.train.voxels import Opened, open_scan

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from hilum.train.runs import RunScan

    Item = dict[str, Any]

Rule = Literal["nodules", "balanced", "lungs", "uniform"]
"""Where patches are: at nodules; at nodules and, in turn, in the lungs far from all; in the lungs; anywhere."""


class PatchDataset:
    """Random patches of a finished run, cut when they are asked for.

    An item depends on the seed, the epoch and its index alone: the same patch in whatever process, in whatever order.
    Volumes stored as npy are memory-mapped, and only the voxels of a patch are read; of b2nd and zarr the chunks it
    touches are unpacked; NIfTI volumes are unpacked whole, and `cache` of them kept (of each process).

    Parameters
    ----------
    folder : str or Path
        The output folder of ``hilum run``.
    size : int
        Voxels along each edge.
    rule : {"nodules", "balanced", "lungs", "uniform"}
        Each nodule in turn, moved by up to `jitter_mm`; the same with a patch of the lungs after each one; a random
        voxel of the lungs of each scan in turn; of the whole scan.
    length : int, optional
        Items of an epoch; once through the nodules or scans where it is not given.
    jitter_mm : float
        Along each array axis.
    distance_mm : float
        From the center of a patch that the rule "balanced" puts in the lungs to the surface of every nodule.
    window : tuple of float, HU, optional
        Brings this range to [0, 1] as float32, less `mean`; without it voxels come as stored.
    mean : float
        The data set's own, which ``hilum stats`` prints.
    augment : Augment, optional
        How patches are mirrored, turned and zoomed; their places stay those of the data set without it.
    folds : collection of str, optional
        Only scans of these folds.
    fold_by : str
        The label of a scan that is its fold: ``patient_fold`` keeps a patient's scans together.
    seed : int
    cache : int
        Scans kept open where that takes memory or a file each: NIfTI, b2nd, zarr.
    verify : bool
        Whether every file is held against its checksum at the start; without it against its size, and against its
        checksum where it is newer than the ``scan.json`` beside it.

    Attributes
    ----------
    scans : list of RunScan
        Those used: annotated ones for the rules that know nodules.
    skipped : list of Skip
        Scans that the run itself did not finish.

    Raises
    ------
    InputError
        If no scan is finished or fits, a file is not of the size it was written in, or an option is out of range.

    Examples
    --------
    >>> data = PatchDataset("OUT", size=64, window=(-1000, 400), mean=0.25)  # doctest: +SKIP
    >>> loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True, num_workers=2)  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        size: int = 64,
        rule: Rule = "nodules",
        length: int | None = None,
        jitter_mm: float = 5.0,
        distance_mm: float = 20.0,
        window: tuple[float, float] | None = None,
        mean: float = 0.0,
        augment: Augment | None = None,
        folds: Collection[str] | None = None,
        fold_by: str = "fold",
        seed: int = 0,
        cache: int = 4,
        verify: bool = False,
    ) -> None:
        if rule not in get_args(Rule):
            raise InputError(f"there is no rule {rule!r}", do=f"use {', '.join(get_args(Rule))}", code="option")
        if not 1 <= size <= 1024 or cache < 1 or seed < 0 or not 0 <= distance_mm < np.inf:
            what = f"size {size}, cache {cache}, seed {seed} or distance {distance_mm} is out of range"
            raise InputError(what, code="option")
        self.folder, self.size, self.rule, self.seed, self.epoch = Path(folder), size, rule, seed, 0
        self.jitter_mm, self.distance_mm, self.cache, self.augment = jitter_mm, distance_mm, cache, augment
        listed, self.skipped = list_run(self.folder, fold_by=fold_by)
        knows = rule in {"nodules", "balanced"}
        self.scans = [
            scan
            for scan in listed
            if (folds is None or scan.fold in {str(fold) for fold in folds}) and (scan.annotated or not knows)
        ]
        for scan in self.scans:
            check_files(scan, digest=verify)
            farther = 1.0 if augment is None else augment.reach
            check_jitter(scan.geometry, self._box, jitter_mm if knows else 0.0, reach=farther)
        if augment is not None:
            augment.check(self.scans)
        self._nodules = [
            (k, number)
            for k, scan in enumerate(self.scans)
            for number, nodule in enumerate(scan.record.nodules)
            if nodule.inside
        ]
        if not (self._nodules if knows else self.scans):
            what = "no nodule in the scans asked for" if knows else "no scan of the folds asked for"
            raise MissingInputError(what, where=self.folder, do="check the run's annotations and the folds")
        once = {"nodules": len(self._nodules), "balanced": 2 * len(self._nodules)}.get(rule, len(self.scans))
        self.length = once if length is None else length
        self._scaling = choose_scaling(window, mean, {scan.record.unit for scan in self.scans}, self.folder)
        self._found = [_found(scan) for scan in self.scans]
        self._most = max(len(found.diameters) for found in self._found)
        self._opened: OrderedDict[int, Opened] = OrderedDict()

    @property
    def _box(self) -> tuple[int, int, int]:
        return self.size, self.size, self.size

    def set_epoch(self, epoch: int) -> None:
        """Draw other patches: to be called before a loop over the loader, whose workers take the data set as it is.

        Parameters
        ----------
        epoch : int
            At least 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Items of an epoch."""
        return self.length

    def __getitem__(self, index: int) -> Item:
        """One patch.

        Parameters
        ----------
        index : int
            From 0 to the length less 1.

        Returns
        -------
        dict
            ``image`` and ``mask`` (uint8, the labels of nodules), shape (size, size, size); ``label`` (1 at a nodule),
            ``kind``, ``nodule`` (its label, or 0), ``scan``, ``fold``; ``start``, int64, shape (3,), the first voxel
            (z, y, x) of the scan, before the patch is augmented; ``center_world`` and ``target_world``, float64,
            shape (3,), (x, y, z), LPS mm; ``affine``, float64, shape (4, 4), from a voxel of the patch (z, y, x, 1)
            to the world (x, y, z, 1), however the patch lies.

            Of the nodules whose centers lie in the patch ``boxes``, float32, shape (n, 6): first and last corner
            (z, y, x, z, y, x), in voxels of the patch with whole numbers at their centers, a sphere's diameter wide
            and not clipped; ``boxes_world``, float64, shape (n, 4): center (x, y, z), LPS mm, and diameter, mm, in
            the patient; ``box_nodules``, int64, shape (n,): their labels. n is the most that a scan of the data set
            holds, so that items form batches; rows without a nodule are 0.

        Raises
        ------
        IndexError
            If there is no such item.
        InputError
            If a file is gone or damaged, or no place was found.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"item {index} of {self.length}")
        generator = np.random.default_rng((self.seed, self.epoch, int(index)))
        k, place = self._place(int(index), generator)
        scan, opened, grid = self.scans[k], self._open(k), self.scans[k].geometry
        half = (self.size - 1) / 2
        z, y, x = place.start
        pose = Pose((z + half, y + half, x + half), self.size)
        if self.augment is None:
            image, mask = opened.cut(place.start, self._box, self._scaling)
        else:
            pose = self.augment.draw(grid, pose.center, self.size, generator)
            image, mask = opened.view(pose, self._scaling, self.augment.order)
        return {
            "image": image,
            "mask": mask,
            "label": int(place.nodule > 0),
            "kind": place.kind,
            "nodule": place.nodule,
            "scan": scan.record.scan_id,
            "fold": scan.fold,
            "start": np.array(place.start, np.int64),
            "center_world": grid.index_to_world(pose.center),
            "target_world": np.array(place.target, np.float64),
            "affine": pose.affine(grid),
            **self._boxes(k, pose),
        }

    def _boxes(self, k: int, pose: Pose) -> Item:
        found = self._found[k]
        which, boxes = boxes_of(pose, self.scans[k].geometry.spacing, found.voxels, found.diameters)
        count = len(which)
        item: Item = {
            "boxes": np.zeros((self._most, 6), np.float32),
            "boxes_world": np.zeros((self._most, 4)),
            "box_nodules": np.zeros(self._most, np.int64),
        }
        if count:
            item["boxes"][:count], item["boxes_world"][:count] = boxes, found.spheres[which]
            item["box_nodules"][:count] = found.labels[which]
        return item

    def __getstate__(self) -> dict[str, Any]:
        """All but the open files: another process opens its own."""
        return {**self.__dict__, "_opened": OrderedDict()}

    def _place(self, index: int, generator: np.random.Generator) -> tuple[int, Place]:
        """Which scan, and where in it."""
        if self.rule == "nodules" or (self.rule == "balanced" and index % 2 == 0):
            turn = index if self.rule == "nodules" else index // 2
            k, number = self._nodules[turn % len(self._nodules)]
            grid = self.scans[k].geometry
            return k, nodule_place(self.scans[k], number, grid, self._box, self.jitter_mm, generator)
        if self.rule == "uniform":
            k = index % len(self.scans)
            grid = self.scans[k].geometry
            voxel = generator.integers(0, grid.shape)
            x, y, z = grid.index_to_world(voxel).tolist()
            return k, Place("uniform", patch_start(voxel, self._box), (x, y, z))
        turn = index if self.rule == "lungs" else index // 2
        for step in range(len(self.scans)):  # a scan whose lungs hold no such place leaves its turn to the next
            k = (turn + step) % len(self.scans)
            near = nodules_of(self.scans[k]) if self.rule == "balanced" else Nodules(np.empty((0, 3)), np.empty(0))
            lungs = self._open(k).lungs
            if lungs is not None:
                place = lung_place(self.scans[k].geometry, lungs, near, self._box, self.distance_mm, generator)
                if place is not None:
                    return k, place
        raise InputError("no lung of any scan has room so far from its nodules", where=self.folder, code="option")

    def _open(self, k: int) -> Opened:
        if k in self._opened:
            self._opened.move_to_end(k)
            return self._opened[k]
        opened = self._opened[k] = open_scan(self.scans[k], self.folder, lungs=self.rule in {"lungs", "balanced"})
        if opened.kept:
            while len(self._opened) > self.cache:
                self._opened.popitem(last=False)
        return opened


class _Found(NamedTuple):
    """The nodules of a scan: voxels (z, y, x); diameters, mm; (x, y, z) and diameter, mm; labels."""

    voxels: NDArray[np.float64]
    diameters: NDArray[np.float64]
    spheres: NDArray[np.float64]
    labels: NDArray[np.int64]


def _found(scan: RunScan) -> _Found:
    inside = [nodule for nodule in scan.record.nodules if nodule.inside]
    spheres = np.array([(*nodule.world, nodule.diameter_mm) for nodule in inside], np.float64).reshape(-1, 4)
    labels = np.array([nodule.label for nodule in inside], np.int64)
    return _Found(scan.geometry.world_to_index(spheres[:, :3]), spheres[:, 3], spheres, labels)
