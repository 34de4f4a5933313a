"""The marks of LIDC-IDRI's readers, in pixels of slices, as their XML has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Outline:
    """A polygon that a reader drew on one slice.

    Parameters
    ----------
    line : int
        Its first line in the file.
    z_mm : float
        imageZposition; nan where it is missing.
    sop_uid : str
        The slice's SOP Instance UID; empty where it is missing or invalid.
    inclusion : bool
        False for a hole in the nodule.
    points : list of (float, float), (x, y), pixels
        Column and row, counted from 0 at the center of the first pixel.
    """

    line: int
    z_mm: float = float("nan")
    sop_uid: str = ""
    inclusion: bool = True
    points: list[tuple[float, float]] = field(default_factory=list)

    def array(self) -> NDArray[np.float64]:
        """The points as an array, shape (n, 2), (row, column), pixels."""
        return np.array(self.points, np.float64).reshape(-1, 2)[:, ::-1]


@dataclass
class MarkedNodule:
    """A nodule that one reader marked.

    Parameters
    ----------
    outlines : list of Outline
    scores : dict of str to float
        The reader's scores, by their names in the XML.
    """

    outlines: list[Outline] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def outlined(self) -> bool:
        """Whether it is a nodule of 3 mm or more: those have outlines, smaller ones a single point."""
        return any(o.inclusion and len(o.points) > 1 for o in self.outlines)


@dataclass
class Session:
    """The marks of one reader in the scan.

    Parameters
    ----------
    nodules : list of MarkedNodule
    others : list of Outline
        Marks of one point each, of findings that are not nodules.
    """

    nodules: list[MarkedNodule] = field(default_factory=list)
    others: list[Outline] = field(default_factory=list)


@dataclass
class Message:
    """The reading of one series, from one file.

    Parameters
    ----------
    series_uid : str
        Empty where the file does not name it.
    sessions : list of Session
        One for each reader.
    bad_scores : int
        Number of invalid scores, which were left out.
    """

    series_uid: str = ""
    sessions: list[Session] = field(default_factory=list)
    bad_scores: int = 0
