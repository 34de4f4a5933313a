"""Where each scan of a run was found, what it is called in public, and what its output folder is called."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from hilum.errors import InputError
from hilum.io.names import public_case, safe_name
from hilum.io.volumes.formats import is_volume, suffix_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hilum.scan import ScanRef

RULES = ("uid", "folder", "case")
"""What the folders of scans may be called after."""

_NAME = re.compile(
    r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$))[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9_-])?",
    re.IGNORECASE | re.ASCII,
)
"""Names that every system takes for one folder, and no shell for anything else; some are devices on Windows."""

_RULE = "letters of ASCII, digits, '.', '_', '-', at most 100, first and last no mark"

_LONGEST = 60
"""How much of a second path a message shows."""

_PATIENT = re.compile(r"[0-9a-f]{32}")


def is_scan_name(name: str) -> bool:
    """Whether a scan's output folder may be called so.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool
    """
    return _NAME.fullmatch(name) is not None


def sources_of(inputs: Sequence[Path]) -> list[tuple[Path, str]]:
    """Tell the inputs of a run apart.

    Parameters
    ----------
    inputs : sequence of Path

    Returns
    -------
    list of tuple of Path and str
        Each as an absolute path, and what it is called: its name, or where there are several its path below the
        deepest folder that holds them all.
    """
    paths = [Path(os.path.abspath(path)) for path in inputs]  # noqa: PTH100 - links stay as they were given
    try:
        base = os.path.commonpath([path.parent for path in paths]) if paths else ""
    except ValueError:  # on several drives
        base = ""
    return [(path, path.relative_to(base).as_posix() if base else path.name) for path in paths]


def place_of(path: Path, root: Path) -> str:
    """Where something lies in an input.

    Parameters
    ----------
    path : Path
    root : Path
        The input, as `sources_of` gives it.

    Returns
    -------
    str
        Relative to it, parts separated by ``/``; ``.`` for the input itself.
    """
    return PurePath(os.path.relpath(os.path.abspath(path), root)).as_posix()  # noqa: PTH100 - as above


def placed(ref: ScanRef, root: Path, source: str) -> ScanRef:
    """Tell a scan where it was found, and its public case where a data set gives one.

    Parameters
    ----------
    ref : ScanRef
    root : Path
    source : str
        The input that it was found in, and its name, as `sources_of` gives them.

    Returns
    -------
    ScanRef
    """
    place = place_of(ref.path, root)
    case = public_case(f"{root.name}/{place}")
    if ref.dataset == "dsb2017" and _PATIENT.fullmatch(ref.scan_id):
        case = safe_name(ref.scan_id)
    return replace(ref, source=source, place=place, case=case)


def names_by_rule(ref: ScanRef) -> dict[str, str]:
    """What a scan is called by each of the `RULES`; empty where a rule gives no name.

    Parameters
    ----------
    ref : ScanRef

    Returns
    -------
    dict of str to str
    """
    path = Path(os.path.abspath(ref.path))  # noqa: PTH100 - as above
    is_file = is_volume(path) or path.is_file()
    ending = (suffix_of(path) or path.suffix) if is_file else ""
    return {"uid": ref.uid_id or ref.scan_id, "folder": path.name.removesuffix(ending), "case": ref.case}


def name_scans(refs: Iterable[ScanRef], by: str) -> list[ScanRef]:
    """Call scans' output folders after something else than their series UIDs.

    Parameters
    ----------
    refs : iterable of ScanRef
        From `hilum.datasets.survey.survey`.
    by : {"uid", "folder", "case"}
        ``uid``: the id that each has, a hash of its series UID as a rule. ``folder``: the folder that holds its slices,
        or the stem of its file. ``case``: its public case id.

    Returns
    -------
    list of ScanRef
        With other ids, in the same order.

    Raises
    ------
    InputError
        If there is no such rule, a scan has no such name or one that not every system takes, or two have the same.
    """
    if by not in RULES:
        raise InputError(f"is {by!r}, expected one of {', '.join(RULES)}", where="by", code="option")
    named = []
    taken: dict[str, ScanRef] = {}
    for ref in refs:
        name = names_by_rule(ref)[by]
        do = "give another --name-by"
        if not name:
            raise InputError("no public case id is known of this scan", where=ref.path, do=do, code="name")
        if not is_scan_name(name):
            what = f"its name cannot be a scan's: {_RULE}"
            raise InputError(what, where=ref.path, do=f"rename it, or {do}", code="name")
        other = taken.setdefault(name.casefold(), ref)
        if other is not ref:
            what = f"would be called {name!r}, and so would {_told(other, ref)}"
            raise InputError(what, where=ref.path, do=f"rename one, or {do}", code="name")
        named.append(replace(ref, scan_id=name, uid_id=names_by_rule(ref)["uid"]))
    return named


def _told(other: ScanRef, ref: ScanRef) -> str:
    """The other scan of two that have one name."""
    if other.path == ref.path:
        return f"series {other.series_uid or other.scan_id} in the same place"
    text = str(other.path)
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"
