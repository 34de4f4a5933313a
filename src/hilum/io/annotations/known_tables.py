"""The nodule tables that hilum knows by their header.

Sources of the known tables:

* LUNA16, ``annotations.csv``: https://luna16.grand-challenge.org/Data/. LPS mm, diameter in mm.
* LUNA25, ``LUNA25_Public_Training_Development_Data.csv``: https://luna25.grand-challenge.org/datasets/. LPS mm: its
  readers give the position to ITK's TransformPhysicalPointToIndex. ``label`` is 1 for a malignant nodule. There is no
  size; the challenge classifies blocks of 64 x 128 x 128 voxels about the position. So its rows are points, unless a
  diameter is stated.
* LNDb, ``trainNodules_gt.csv``: https://lndb.grand-challenge.org/Data/ and its scripts (readNoduleList.py, utils.py):
  world mm of the MetaImage files, which are LPS; the diameter is that of the sphere of ``Volume`` (nodEqDiam).
  ``Nodule`` is 0 for a finding that no reader calls a nodule; its volume is made up, so it is an excluded finding
  without a diameter. Nobody outlined nodules below 3 mm, so their volume is nominal. ``AgrLevel`` counts the readers
  who call it a nodule, ``Text`` is their mean texture. Scan 1 is ``LNDb-0001``.
* hilum, ``hilum export csv``: `hilum.export.boxes`.

The NLST itself collected no coordinates of findings (https://cdas.cancer.gov/learn/nlst/images/): its tables have slice
numbers and lobes. LUNA25 is drawn on it. The boxes that accompany Sybil are boxes of single slices; they are not read.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from hilum.io.annotations import csv_tables
from hilum.io.annotations.table_rows import TableColumns


class KnownTable(NamedTuple):
    """A table that is known by its header.

    Parameters
    ----------
    columns : TableColumns
        Which column is which.
    also : tuple of str
        Further columns that distinguish it.
    scores : mapping of str to str
        Columns that become scores of the nodules, by the name of the score.
    is_nodule : str
        The column that is 0 for a finding that is not a nodule.
    file : str
        How its scans are called, given a number.
    more_ids : tuple of str
        Further columns that name the scan.
    """

    columns: TableColumns
    also: tuple[str, ...] = ()
    scores: Mapping[str, str] = MappingProxyType({})
    is_nodule: str = ""
    file: str = ""
    more_ids: tuple[str, ...] = ()

    @property
    def header(self) -> list[str]:
        """All columns that the header must have, in lower case."""
        own = (*self.columns.named.values(), *self.also, *self.scores.values(), *self.more_ids)
        return [name.lower() for name in (*own, *filter(None, [self.is_nodule]))]


LUNA16 = "LUNA16"

KNOWN: dict[str, KnownTable] = {
    "LUNA25": KnownTable(
        TableColumns(id="SeriesInstanceUID", x="CoordX", y="CoordY", z="CoordZ", label="label"), ("AnnotationID",)
    ),
    "LNDb": KnownTable(
        TableColumns(id="LNDbID", x="x", y="y", z="z", volume="Volume"),
        ("RadFindingID",),
        {"agreeing_readers": "AgrLevel", "texture": "Text"},
        "Nodule",
        "LNDb-{:04d}",
    ),
    "hilum": KnownTable(
        TableColumns(
            id="series_uid", x="center_world_x", y="center_world_y", z="center_world_z", diameter="diameter_mm"
        ),
        more_ids=("scan",),
    ),
    LUNA16: KnownTable(TableColumns(id="seriesuid", x="coordX", y="coordY", z="coordZ", diameter="diameter_mm")),
}
"""Every table that is known by its header, besides the lists of boxes in `hilum.io.annotations.box_lists`."""


def recognize_table(path: Path) -> str:
    """The name in `KNOWN` of a csv; empty for another one."""
    head = {name.lower() for name in csv_tables.read_header(path)}
    return next((name for name, known in KNOWN.items() if head.issuperset(known.header)), "")
