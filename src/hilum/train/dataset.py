"""A data set of patches for ``torch.utils.data.DataLoader`` or any other loop over indices.

It has a length, and an item by index: a dict of numpy arrays and plain values. It can be pickled; each process opens
its own files. Nothing here imports torch.
"""

import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from hilum.errors import InputError, MissingInputError
from hilum.ops.patches.poses import Pose, scaled
from hilum.ops.patches.sampling import Order
from hilum.ops.patches.shapes import make_shape
from hilum.runs.run import AnyRun, open_run
from hilum.train import intensity, runs
from hilum.train.augment import Augment
from hilum.train.boxes import nodule_table
from hilum.train.epochs import EpochSampler, in_torch_worker
from hilum.train.label_maps import NODULES, label_values, scans_with
from hilum.train.open_scans import OpenScans
from hilum.train.positions import check_jitter
from hilum.train.rules import PositionRule, Rule, check_rule

Item = dict[str, Any]


class PatchDataset:
    """Random patches of a finished run, cut on access.

    An item depends only on the seed, the epoch and its index: every process, in every order, gets the same patch.
    Volumes stored as npy are memory-mapped, and only the voxels of a patch are read. Of b2nd and zarr only the chunks
    of a patch are unpacked. NIfTI volumes are unpacked as a whole, and each process keeps `cache` of them.

    Parameters
    ----------
    folder : str or path
        The output folder of ``hilum run``, or a `hilum.Run`.
    size : int or sequence of three int, (z, y, x), default 64
        Voxels along each axis; one number stands for all.
    size_mm : float or sequence of three float, (z, y, x), mm, optional
        What the voxels of a patch span: it is resampled as it is read, to a spacing of ``size_mm / size``, as
        `hilum.resample` does, smoothed where that is much coarser; masks get the nearest label. By default patches
        have the voxels of their scans.
    context_mm : float or sequence of three float, (z, y, x), mm, optional
        Add an image of the same size and center that spans this, resampled in the same way: the surroundings.
    samples_per_volume : int, default 1
        Patches of one scan that follow each other, so that it is opened once for all of them.
    rule : {"nodules", "balanced", "labels", "lungs", "uniform"}, default "nodules"
        ``"nodules"``: at each nodule in turn, moved by up to `jitter_mm`. ``"balanced"``: the same, with a patch of
        the lungs after each one. ``"labels"``: at a random voxel of the label map `labels` of each scan in turn,
        moved by up to `jitter_mm`. ``"lungs"``: at a random voxel of the lungs of each scan in turn. ``"uniform"``:
        at a random voxel of each scan in turn.
    labels : str, default "nodules"
        The mask of an item: that of the ``"nodules"``, or the label map of this name.
    length : int, optional
        Items per epoch, a multiple of `samples_per_volume`; by default once through the nodules or scans.
    jitter_mm : float, default 5.0
        Along each array axis.
    distance_mm : float, default 20.0
        The least distance from a patch that the rule "balanced" puts in the lungs, at its center, to a nodule's
        surface.
    window : tuple of float, HU, optional
        Scale this range to [0, 1] as float32 and subtract `mean`; without it voxels stay as stored.
    mean : float, default 0.0
        The mean of the data set, as ``hilum stats`` prints it.
    augment : Augment, optional
        Mirror, rotate and zoom patches; their positions are the same as without it.
    folds : collection of str, optional
        Only scans of these folds.
    fold_by : str, default "fold"
        The label that is a scan's fold: ``patient_fold`` keeps a patient's scans together. Folds of ``hilum folds``
        come first.
    seed : int
        Decides, with the epoch and the index, what is drawn; at least 0, by default 0.
    cache : int, default 4
        Scans kept open if each takes memory or an open file: NIfTI, b2nd, zarr.
    verify : bool, default False
        Check the checksum of every file at the start. Otherwise only sizes are checked, and the checksums of files
        that are newer than the scan's ``scan.json``.

    Attributes
    ----------
    scans : list of RunScan
        The scans in use; the rules with nodules use annotated scans only.
    skipped : list of Skip
        Scans that the run did not finish, and those without the label map.
    label_values : dict of str to int
        The values of the label map by the names of its labels; empty for nodules.

    Raises
    ------
    InputError
        If no finished scan can be used, a file has another size than it was written with, or an option is out of range.

    Examples
    --------
    >>> import hilum
    >>> data = hilum.PatchDataset("OUT", size=32, window=(-1000, 400), mean=0.25)
    >>> len(data), data[0]["image"].shape, data[0]["image"].dtype
    (5, (32, 32, 32), dtype('float32'))

    A loader of torch takes it as it is. With its sampler every epoch has other patches, whatever the workers are:
    ``torch.utils.data.DataLoader(data, batch_size=8, num_workers=2, sampler=data.sampler())``.
    """

    def __init__(
        self,
        folder: AnyRun,
        *,
        size: int | Sequence[int] = 64,
        size_mm: float | Sequence[float] | None = None,
        context_mm: float | Sequence[float] | None = None,
        samples_per_volume: int = 1,
        rule: Rule = "nodules",
        labels: str = NODULES,
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
        check_rule(rule, labels)
        if cache < 1 or seed < 0 or samples_per_volume < 1 or not 0 <= distance_mm < np.inf:
            what = f"cache {cache}, seed {seed}, {samples_per_volume} samples or distance {distance_mm} is out of range"
            raise InputError(what, code="option")
        self.shape = make_shape(size, size_mm)
        self.context = None if context_mm is None else make_shape(size, context_mm, "context_mm")
        run = open_run(folder)
        self.folder, self.rule, self.seed, self.epoch, self.augment = run.folder, rule, seed, 0, augment
        self.labels, self.samples_per_volume, self._epoch_is_set = labels, samples_per_volume, False
        listed, self.skipped = runs.list_run(run, fold_by=fold_by)
        uses_nodules = rule in {"nodules", "balanced"}
        wanted = {scan.fold for scan in listed} if folds is None else {str(fold) for fold in folds}
        self.scans = [scan for scan in listed if scan.fold in wanted and (scan.annotated or not uses_nodules)]
        if labels != NODULES:
            self.scans, without = scans_with(self.scans, labels, filled=rule == "labels")
            self.skipped += without
        self.label_values = label_values(self.scans, labels)
        factor = 1.0 if augment is None else augment.reach
        for scan in self.scans:
            scan.check_files(digest=verify)
            moved = jitter_mm if uses_nodules or rule == "labels" else 0.0
            check_jitter(scan.geometry, self.shape, moved, factor=factor)
            self.shape.check(scan.geometry)
            (self.context or self.shape).check(scan.geometry)
        if augment is not None:
            augment.check(self.scans)
        self._rule = PositionRule(rule, self.scans, self.shape, jitter_mm, distance_mm, samples_per_volume, self.folder)
        if not self._rule.once:
            what = "the chosen scans have no nodule" if uses_nodules else "no scan is in the chosen folds"
            raise MissingInputError(what, where=self.folder, do="check the run's annotations and the folds")
        self.length = self._rule.once if length is None else length
        if self.length % samples_per_volume:
            what = f"length {self.length} is no multiple of {samples_per_volume} samples per volume"
            raise InputError(what, code="option")
        self._scaling = intensity.choose_scaling(window, mean, {scan.record.unit for scan in self.scans}, self.folder)
        self._tables = [nodule_table(scan) for scan in self.scans]
        self._most_nodules = max(len(table.labels) for table in self._tables)
        lungs = rule in {"lungs", "balanced"}
        self._open = OpenScans(self.scans, self.folder, lungs=lungs, labels=labels, cache=cache)

    def set_epoch(self, epoch: int) -> None:
        """Draw other patches for plain indices; a `sampler` needs no such call.

        Call it before a loop over a loader: its workers copy the data set when they start, persistent ones only once.

        Parameters
        ----------
        epoch : int
            At least 0.

        Examples
        --------
        >>> import hilum
        >>> data = hilum.PatchDataset("OUT", size=32)
        >>> for epoch in range(2):
        ...     data.set_epoch(epoch)
        ...     print(data[0]["start"].shape)
        (3,)
        (3,)
        """
        self.epoch, self._epoch_is_set = epoch, True

    def sampler(self, *, shuffle: bool = True, rank: int = 0, ranks: int = 1) -> EpochSampler:
        """Make a sampler for a loader of torch that begins a new epoch with every loop, in every worker.

        It gives each index together with its epoch, so that the patches depend on the seed, the epoch and the index
        alone: with workers that fork, spawn or persist, and with none. Do not give the loader ``shuffle``.

        Parameters
        ----------
        shuffle : bool, default True
            Draw another order for each epoch. False keeps the order of the data set; the patches still differ.
        rank : int, default 0
            The number of this process, as in training on several devices.
        ranks : int, default 1
            How many processes share an epoch.

        Returns
        -------
        EpochSampler

        Raises
        ------
        InputError
            If the rank is out of range.

        Examples
        --------
        >>> import hilum
        >>> data = hilum.PatchDataset("OUT", size=16)
        >>> sampler = data.sampler(shuffle=False)
        >>> list(sampler), list(sampler)[0]
        ([(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)], (1, 0))
        >>> data[1, 0]["image"].shape
        (16, 16, 16)
        """
        group = self.samples_per_volume
        return EpochSampler(self.length, seed=self.seed, shuffle=shuffle, rank=rank, ranks=ranks, group=group)

    def __len__(self) -> int:
        """Number of items per epoch."""
        return self.length

    def __getitem__(self, index: int | tuple[int, int]) -> Item:
        """Cut one patch.

        Parameters
        ----------
        index : int, or (epoch, index)
            From 0 to the length minus 1. Alone, it means the epoch of `set_epoch`, at first 0.

        Returns
        -------
        dict
            ``image`` and ``mask`` (uint8, the labels of nodules or of the label map), of the shape `size`;
            ``label`` (1 at a nodule; the value at the voxel that was drawn from a label map), ``kind``, ``nodule``
            (its label, or 0), ``scan``, ``fold``; ``start``, int64, shape (3,), the first voxel (z, y, x) in the scan,
            before augmentation (with `size_mm`, the nearest one); ``center_world`` and ``target_world``, float64, shape
            (3,), (x, y, z), LPS mm; ``affine``, float64, shape (4, 4), from a voxel of the patch (z, y, x, 1) to the
            world (x, y, z, 1), after augmentation. With `context_mm`: ``context`` and its ``context_affine``.

            The nodules whose centers are in the patch: ``boxes``, float32, shape (n, 6), first and last corner
            (z, y, x, z, y, x) in voxels of the patch, whole numbers at voxel centers, a sphere's diameter wide, not
            clipped; ``boxes_world``, float64, shape (n, 4), center (x, y, z), LPS mm, and diameter, mm, in the
            patient; ``box_nodules``, int64, shape (n,), their labels. n is the same for all items, so that they form
            batches: the largest number of nodules in a scan. Rows without a nodule are 0.

        Raises
        ------
        IndexError
            If there is no such item.
        InputError
            If a file is missing or damaged, or no scan has a position that fits.
        """
        epoch, index = index if isinstance(index, tuple) else (self._plain_epoch(), index)
        if not 0 <= index < self.length:
            raise IndexError(f"item {index} of {self.length}")
        generator = np.random.default_rng((self.seed, int(epoch), int(index)))
        k, position = self._rule.draw(int(epoch), int(index), generator, self._open)
        scan, volumes, grid = self.scans[k], self._open(k), self.scans[k].geometry
        pose = Pose(position.center, self.shape.size, self.shape.matrix(grid))
        if self.augment is not None:
            own = None if self.shape.size_mm is None else self.shape.spacing(grid)
            pose = self.augment.draw(grid, pose.center, pose.size, generator, spacing=own)
        order: Order = 3 if self.augment is None else self.augment.order
        image, mask = volumes.cut_pose(pose, self._scaling, order, self.shape.factors(grid))
        start = np.array(position.start(self.shape.extent(grid)), np.int64)
        center, target = grid.index_to_world(pose.center), np.array(position.target, np.float64)
        patch = {"image": image, "mask": mask, "label": position.value, "kind": position.kind}
        origin = {"nodule": position.nodule, "scan": scan.scan_id, "fold": scan.fold, "start": start}
        world = {"center_world": center, "target_world": target, "affine": pose.affine(grid)}
        item = {**patch, **origin, **world, **self._tables[k].boxes(pose, self._most_nodules)}
        if self.context is not None:
            zoom = np.divide(self.context.spacing(grid), self.shape.spacing(grid)).tolist()
            wide = Pose(pose.center, pose.size, scaled(pose.matrix, zoom))
            item["context"] = volumes.cut_image(wide, self._scaling, order, self.context.factors(grid))
            item["context_affine"] = wide.affine(grid)
        return item

    def _plain_epoch(self) -> int:
        """The epoch of an index that comes without one."""
        if not self._epoch_is_set and in_torch_worker():
            self._epoch_is_set = True
            what = "every epoch of this loader will have the same patches"
            warnings.warn(f"{what}: give it sampler=data.sampler(), or call data.set_epoch(n)", stacklevel=3)
        return self.epoch
