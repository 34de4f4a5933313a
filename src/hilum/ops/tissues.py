"""The Hounsfield units of tissues: a table, thresholds, and a volume labeled by the table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hilum._kernels.intensity.tables import look_up
from hilum.errors import InputError
from hilum.ops.arguments import expect, hu_of
from hilum.scan import Scan
from hilum.volume import Mask, Volume

LUNG_AIR_MAX_HU = -400  # half way between lung and soft tissue: what is at most this bright is air or aerated lung

SOLID_MIN_HU = -300  # what is brighter is solid: it contains hardly any air
BONE_MIN_HU = 150  # the mean of some cubic millimeters of rib or vertebra is brighter

_TABLE = "the HU table of the 2017 tutorial"
_AIR = f"{_TABLE} (-1000), with 50 HU of noise and padding either way, up to where lung begins"
_LUNG = (
    "from -950, below which lung is counted as emphysema (Gevenois et al., Am J Respir Crit Care Med 154, 1996), to "
    "-500, the end of normally aerated lung (Gattinoni et al., Am J Respir Crit Care Med 164, 2001)"
)
_LEAST, _MOST = -32768, 32767


@dataclass(frozen=True)
class Tissue:
    """A tissue and its range of Hounsfield units.

    Parameters
    ----------
    name : str
        What it is called: ``lung``, ``bone``.
    lower, upper : float, HU
        Both belong to the range.
    source : str
        Where the range was published.

    Examples
    --------
    >>> import hilum
    >>> hilum.Tissue("emphysema", -1024, -951, "my own").upper
    -951
    """

    name: str
    lower: float
    upper: float
    source: str


TISSUES: tuple[Tissue, ...] = (
    Tissue("air", -1050, -951, _AIR),
    Tissue("lung", -950, -500, _LUNG),
    Tissue("fat", -100, -50, _TABLE),
    Tissue("muscle", 10, 40, _TABLE),
    Tissue("blood", 30, 45, _TABLE),
    Tissue("liver", 40, 60, _TABLE),
    Tissue("soft tissue with contrast", 100, 300, _TABLE),
    Tissue("bone", 700, 3000, _TABLE),
    Tissue("CSF", 15, 15, _TABLE),
    Tissue("white matter", 20, 30, _TABLE),
    Tissue("gray matter", 37, 45, _TABLE),
)
"""Tissues and their Hounsfield units, those of a chest first. The ranges overlap: no HU value proves a tissue."""


def tissue_map(volume: Volume | Scan, *, tissues: Sequence[Tissue] = TISSUES) -> Mask:
    """Label each voxel with the first tissue whose range contains its value.

    Ranges overlap, and the first tissue in the table wins: 35 HU is in the ranges of muscle and of blood, and becomes
    muscle. With all of `TISSUES` no voxel gets a tissue of the head, because muscle, blood and liver cover the same
    values; pass other tissues, or another order, for a volume that is not a chest. Values in no range (between fat and
    lung, and around 0) get the label 0.

    Parameters
    ----------
    volume : Volume or Scan, shape (z, y, x), HU
        Hounsfield units; of a scan, its CT is taken.
    tissues : sequence of Tissue
        At most 255.

    Returns
    -------
    Mask
        On the volume's grid: 1 for the first tissue of `tissues`, 2 for the second, ...; 0 for none. The labels have
        the names of the tissues.

    Raises
    ------
    InputError
        If the voxels are not int16, there are more tissues than labels, or a range is empty.
    InputTypeError
        If the argument is neither a volume nor a scan.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> grid = hilum.Geometry((1, 1, 5), (1.0, 1.0, 1.0))
    >>> hu = hilum.Volume(np.array([[[-1000, -800, -300, 35, 50]]], np.int16), grid)
    >>> [hilum.TISSUES[label - 1].name if label else "" for label in hilum.tissue_map(hu).array.ravel()]
    ['air', 'lung', '', 'muscle', 'liver']
    """
    ct = hu_of(volume)
    if ct.array.dtype.newbyteorder("=") != np.int16:
        raise InputError(f"a tissue map needs HU as int16, not {ct.array.dtype}", do="keep the volume in HU")
    do = "pass hilum.TISSUES, a part of it, or a list of hilum.Tissue"
    for tissue in expect(tissues, (list, tuple), "sequence of tissues", do=do):
        expect(tissue, Tissue, "tissue", do=do)
    if len(tissues) > 255:
        raise InputError(f"{len(tissues)} tissues, but a mask has at most 255 labels", code="option")
    table = np.zeros(_MOST - _LEAST + 1, np.uint8)
    values = np.arange(_LEAST, _MOST + 1)
    for label in range(len(tissues), 0, -1):
        tissue = tissues[label - 1]
        if not tissue.lower <= tissue.upper:
            raise InputError(f"the range of {tissue.name} is empty: {tissue.lower} to {tissue.upper} HU", code="option")
        table[(values >= tissue.lower) & (values <= tissue.upper)] = label

    names = {label: tissue.name for label, tissue in enumerate(tissues, 1)}
    return Mask(look_up(ct.array, table, _LEAST, workers=0), ct.geometry, names)
