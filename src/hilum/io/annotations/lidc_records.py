"""What a reader of LIDC-IDRI marked, in pixels of slices, as its XML says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Outline:
    """What was drawn on one slice.

    Parameters
    ----------
    line : int
        Where it begins in the file.
    z_mm : float
        imageZposition; nan where it is absent.
    sop_uid : str
        The slice's SOP Instance UID; empty where it is absent or none.
    inclusion : bool
        False for what is taken out of the nodule again.
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
class Marked:
    """A nodule as one reader marked it.

    Parameters
    ----------
    outlines : list of Outline
    scores : dict of str to float
        The reader's ratings, by the names of the XML.
    """

    outlines: list[Outline] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def outlined(self) -> bool:
        """Whether it is a nodule of 3 mm or more: those have outlines, smaller ones a single point."""
        return any(o.inclusion and len(o.points) > 1 for o in self.outlines)


@dataclass
class Session:
    """What one reader marked in the scan.

    Parameters
    ----------
    nodules : list of Marked
    others : list of Outline
        One point each: what is no nodule.
    """

    nodules: list[Marked] = field(default_factory=list)
    others: list[Outline] = field(default_factory=list)


@dataclass
class Message:
    """One file: the reading of one series.

    Parameters
    ----------
    series_uid : str
        Empty where the file does not name it.
    sessions : list of Session
        One a reader.
    bad_scores : int
        Ratings that are none, and were left out.
    """

    series_uid: str = ""
    sessions: list[Session] = field(default_factory=list)
    bad_scores: int = 0
