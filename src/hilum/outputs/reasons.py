"""Why a scan was not made, told twice: in full to the person at the screen, and without names to who gets the output.

A ledger travels with its run. Its reasons say what was found and what to do, but not where the input lies, nor what its
files are called unless `hilum.io.names` lets the name pass.
"""

from __future__ import annotations

import os
import traceback
from pathlib import PurePath
from typing import TYPE_CHECKING

from hilum.errors import OutputError, one_line
from hilum.io.names import safe_name, scrub

if TYPE_CHECKING:
    from hilum.errors import HilumError


def reason_without_names(problem: HilumError, *, path: PurePath, annotations: PurePath | None = None) -> str:
    """Tell a refusal without names.

    Parameters
    ----------
    problem : HilumError
    path : PurePath
        The scan's input, which the scan's id stands for.
    annotations : PurePath, optional
        Where its nodules are listed.

    Returns
    -------
    str
        One line: the part of the input where that is another than the whole, what was found, what to do.
    """
    place = _place(problem, path, annotations)
    text = f"{place}: {problem.what}" if place else problem.what
    return one_line(scrub(f"{text}; {problem.do}" if problem.do else text))


def crash_reason(failure: BaseException) -> str:
    """Tell an error that nobody foresaw: its kind and the line of code. Its text can hold anything.

    Parameters
    ----------
    failure : BaseException

    Returns
    -------
    str
        One line.
    """
    kind = type(failure).__name__
    if isinstance(failure, OSError) and failure.strerror:
        kind = f"{kind}: {failure.strerror}"
    frames = traceback.extract_tb(failure.__traceback__)
    return one_line(f"{kind}, in {PurePath(frames[-1].filename).name} line {frames[-1].lineno}" if frames else kind)


def _place(problem: HilumError, path: PurePath, annotations: PurePath | None) -> str:
    """Which part of the input a problem is in; empty for the whole of it."""
    where = problem.where
    if not isinstance(where, PurePath) or where == path:
        return ""
    if isinstance(problem, OutputError):
        return "output"
    if annotations is not None and where == annotations:
        return "annotations"
    kind = "a folder" if os.path.isdir(where) else "a file"  # noqa: PTH112 - one that may not be looked at is no error
    return safe_name(where.name) or (f"{kind} of it" if where.is_relative_to(path) else f"{kind} beside it")
