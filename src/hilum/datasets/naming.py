"""Name the scans of a run: the input each comes from, its public case, and its output folder."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from hilum.errors import InputError, path_end
from hilum.io.names import public_case
from hilum.io.volumes.formats import is_volume, suffix_of
from hilum.scan_ref import ScanRef

RULES = ("uid", "folder", "case")  # rules for the names of scans' output folders

_NAME = re.compile(r"(?ai)(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$))[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9_-])?")
"""Names that are safe on every system and in every shell; Windows reserves some for devices."""

_NAME_RULE = "letters of ASCII, digits, '.', '_', '-', at most 100, a letter or digit first, no '.' last"


def name_inputs(inputs: Sequence[Path]) -> list[tuple[Path, str]]:
    """Give each input of a run a name.

    Returns
    -------
    list of (Path, str)
        The absolute path of each, and its name: its path relative to the deepest folder that contains all inputs.
    """
    paths = [Path(os.path.abspath(path)) for path in inputs]  # noqa: PTH100 - do not resolve links
    try:
        base = os.path.commonpath([path.parent for path in paths]) if paths else ""
    except ValueError:  # on several drives
        base = ""
    return [(path, path.relative_to(base).as_posix() if base else path.name) for path in paths]


def path_in_input(path: Path, root: Path) -> str:
    """The path of something relative to an input.

    Parameters
    ----------
    path : Path
        A file or folder in the input.
    root : Path
        The input, as `name_inputs` returns it.

    Returns
    -------
    str
        With ``/`` between its parts; ``.`` for the input itself.
    """
    return PurePath(os.path.relpath(os.path.abspath(path), root)).as_posix()  # noqa: PTH100 - do not resolve links


def with_origin(ref: ScanRef, root: Path, source: str) -> ScanRef:
    """Add to a scan where it comes from, and its public case if a folder is named after one.

    Parameters
    ----------
    ref : ScanRef
        The scan.
    root : Path
        The input that holds the scan.
    source : str
        The input and its name, as `name_inputs` returns them.
    """
    path = path_in_input(ref.path, root)
    return replace(ref, source=source, place=path, case=ref.case or public_case(f"{root.name}/{path}"))


def possible_names(ref: ScanRef) -> dict[str, str]:
    """The name of a scan by each of the `RULES`.

    Returns
    -------
    dict of str to str
        Empty strings where a rule gives no name.
    """
    path = Path(os.path.abspath(ref.path))  # noqa: PTH100 - do not resolve links
    suffix = (suffix_of(path) or path.suffix) if is_volume(path) or path.is_file() else ""
    return {"uid": ref.uid_id or ref.scan_id, "folder": path.name.removesuffix(suffix), "case": ref.case}


def name_scans(refs: Iterable[ScanRef], by: str) -> list[ScanRef]:
    """Name the output folders of scans.

    Parameters
    ----------
    refs : iterable of ScanRef
        From `hilum.datasets.survey.survey`.
    by : {"uid", "folder", "case"}
        ``uid``: the id that each has, usually a hash of its series UID. ``folder``: the folder of its slices, or the
        stem of its file. ``case``: its public case id.

    Returns
    -------
    list of ScanRef
        With other ids, in the same order.

    Raises
    ------
    InputError
        If there is no such rule, a scan has no such name or an unsafe one, or two scans have the same.
    """
    if by not in RULES:
        raise InputError(f"is {by!r}, expected one of {', '.join(RULES)}", where="by", code="option")
    named = []
    first_with: dict[str, ScanRef] = {}
    for ref in refs:
        names = possible_names(ref)
        name = names[by]
        do = "give another --name-by"
        if not name:
            raise InputError("no public case id is known of this scan", where=ref.path, do=do, code="name")
        if _NAME.fullmatch(name) is None:
            what = f"its name cannot be that of an output folder: expected {_NAME_RULE}"
            raise InputError(what, where=ref.path, do=f"rename it, or {do}", code="name")
        if (other := first_with.setdefault(name.casefold(), ref)) is not ref:
            same_folder = f"series {other.series_uid or other.scan_id} in the same folder"
            which = same_folder if other.path == ref.path else path_end(other.path, limit=60)
            what = f"its output folder would be {name!r}, the same as that of {which}"
            raise InputError(what, where=ref.path, do=f"rename one, or {do}", code="name")
        named.append(replace(ref, scan_id=name, uid_id=names["uid"]))
    return named
