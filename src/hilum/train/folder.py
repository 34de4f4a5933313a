"""The patches that ``hilum patches`` wrote, for a training loop."""

import csv
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError, MissingInputError, one_line
from hilum.io.files import as_path
from hilum.train import intensity, output_folder, patch_records

Item = dict[str, Any]


class PatchFolder:
    """The patches that ``hilum patches`` wrote, memory-mapped.

    Parameters
    ----------
    folder : str or Path
        The output folder of ``hilum patches``.
    window : tuple of float, HU, optional
        Scale this range to [0, 1] as float32 and subtract `mean`; without it voxels stay as stored.
    mean : float
        The mean of the data set, as ``hilum stats`` prints it; by default 0.
    folds : collection of str, optional
        Only patches of these folds.

    Attributes
    ----------
    label_values : dict of str to int
        The values of masks by the names of their labels, if the patches are of a label map.

    Raises
    ------
    InputError
        If the folder has no finished patches, or the size of a file is not the one in its summary.

    Examples
    --------
    >>> import hilum
    >>> patches = hilum.PatchFolder("PATCHES", window=(-1000, 400))
    >>> patches[0]["image"].shape, patches[0]["kind"]
    ((16, 16, 16), 'nodule')
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        window: tuple[float, float] | None = None,
        mean: float = 0.0,
        folds: Collection[str] | None = None,
    ) -> None:
        self.folder = as_path(folder)
        summary = patch_records.read_patches(self.folder)
        self.label_values = summary.label_values
        wanted = None if folds is None else {str(fold) for fold in folds}
        with (self.folder / output_folder.INDEX).open(newline="", encoding="utf-8") as file:
            self.rows = [row for row in csv.DictReader(file) if wanted is None or row["fold"] in wanted]
        known = {name for scan in summary.scans for name in scan.files}
        if any(row.get(kind) not in known for row in self.rows for kind in ("images", "masks")):
            what = f"names a file that {output_folder.SUMMARY} does not"
            raise FormatError(what, where=self.folder / output_folder.INDEX, do="cut the patches again", code="path")
        if not self.rows:
            raise MissingInputError("no patch is in the chosen folds", where=self.folder, do="check the folds")
        self._scaling = intensity.choose_scaling(window, mean, {scan.unit for scan in summary.scans}, self.folder)
        self._opened: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        """Number of patches."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Item:
        """Read one patch, in the form of `PatchDataset`.

        Parameters
        ----------
        index : int
            From 0 to the length minus 1.

        Returns
        -------
        dict

        Raises
        ------
        IndexError
            If there is no such item.
        """
        if not 0 <= index < len(self.rows):
            raise IndexError(f"item {index} of {len(self.rows)}")
        row = self.rows[index]
        image, mask = (np.array(self._open(row[name])[int(row["row"])]) for name in ("images", "masks"))
        image = image if self._scaling is None else intensity.scale(image, self._scaling)
        patch = {"image": image, "mask": mask, "label": int(row["label"]), "kind": row["kind"]}
        origin = {"nodule": int(row["nodule"] or 0), "scan": row["scan"], "fold": row["fold"]}
        start = np.array([int(row[f"start_{axis}"]) for axis in "zyx"], np.int64)
        names = ("center_world", "target_world")
        world = {name: np.array([float(row[f"{name}_{axis}"]) for axis in "xyz"]) for name in names}
        return {**patch, **origin, "start": start, **world}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open files: another process opens its own."""
        return {**self.__dict__, "_opened": {}}

    def _open(self, name: str) -> NDArray[Any]:
        if name not in self._opened:
            try:
                self._opened[name] = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as problem:
                what = f"cannot be read as .npy: {one_line(problem, limit=80)}"
                raise FormatError(what, where=self.folder / name, do="cut the patches again") from None
        return self._opened[name]
