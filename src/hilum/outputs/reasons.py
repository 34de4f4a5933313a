"""The reason why a scan was not made, without names that could identify a patient.

The screen shows the full message. The ledger travels with its run, so its reasons leave out paths, and all file names
that `hilum.io.names` does not consider safe.
"""

import os
import traceback
from pathlib import PurePath

from hilum.errors import HilumError, OutputError, one_line
from hilum.io.names import safe_name, scrub


def reason_without_names(problem: HilumError, *, path: PurePath, annotations: PurePath | None = None) -> str:
    """Describe a refusal without names.

    Parameters
    ----------
    problem : HilumError
        The refusal.
    path : PurePath
        The scan's input; the scan's id stands for it.
    annotations : PurePath, optional
        The file or folder that lists its nodules.

    Returns
    -------
    str
        One line: the part of the input if it is not all of it, what is wrong, what to do.
    """
    part = _input_part(problem, path, annotations)
    text = f"{part}: {problem.what}" if part else problem.what
    return one_line(scrub(f"{text}; {problem.do}" if problem.do else text))


def crash_reason(failure: BaseException) -> str:
    """Describe an unexpected error by its type and line of code. Its text could contain names.

    Parameters
    ----------
    failure : BaseException
        The error.

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


def _input_part(problem: HilumError, path: PurePath, annotations: PurePath | None) -> str:
    """The part of the input that has the problem; empty for all of it."""
    where = problem.where
    if not isinstance(where, PurePath) or where == path:
        return ""
    if isinstance(problem, OutputError):
        return "output"
    if annotations is not None and where == annotations:
        return "annotations"
    kind = "a folder" if os.path.isdir(where) else "a file"  # noqa: PTH112 - Path.is_dir raises without permission
    return safe_name(where.name) or (f"{kind} in it" if where.is_relative_to(path) else f"{kind} next to it")
