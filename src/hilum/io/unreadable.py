"""What is said of files that should be a scan and cannot be read: links to nothing, failed downloads."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from hilum.errors import InputError, MissingInputError, SeriesError, name_some

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_SUFFIXES = (".dcm", ".dicom", ".ima")

_WITHOUT_SUFFIX = re.compile(r"(?=.*\d)[\w-]+|[\d.]+|.*\.\d+")
"""``IM000001``, ``000001``, a UID: names without a suffix, or with digits in its place. ``README`` is none."""

_VOLUMES = (".nii", ".nii.gz", ".mhd", ".mha", ".nrrd", ".nhdr")
_PACKED = (".zip", ".gz", ".tar", ".tgz", ".bz2", ".xz", ".7z")

_LOOKED_AT = 2000
"""How many files are opened to say what they are: one is as good as the next."""

_HEADS = (
    (b"version https://git-lfs", "pointers of Git LFS"),
    (b"/annex/objects/", "pointers of git-annex"),
    (b"<!doctype", "web pages"),
    (b"<html", "web pages"),
    (b"<?xml", "XML"),
    (b"PK\x03\x04", "zip archives"),
)


def looks_like_dicom(name: str, *, bare: bool = True) -> bool:
    """Whether a file is called as scanners and archives call their slices.

    Parameters
    ----------
    name : str
        A path, with ``/``.
    bare : bool
        Whether a name without a suffix counts; beside a volume's header it may be its data.

    Returns
    -------
    bool
    """
    last = name.rsplit("/", 1)[-1]
    return last.lower().endswith(_SUFFIXES) or (bare and _WITHOUT_SUFFIX.fullmatch(last) is not None)


class Lies(NamedTuple):
    """What lies in place of slices, and what to do."""

    what: str
    do: str


def describe_other_files(names: Sequence[str], shown: Callable[[str], str]) -> Lies | None:
    """Tell what lies in a folder without DICOM, where that is volumes or packed files.

    Parameters
    ----------
    names : sequence of str
        Its files.
    shown : callable
        From a file to what messages call it.

    Returns
    -------
    Lies or None
    """
    volumes = [name for name in names if name.lower().endswith(_VOLUMES)]
    if volumes:
        what = f"{len(volumes)} volume files lie in it" if len(volumes) > 1 else "a volume file lies in it"
        return Lies(f"{what}: {name_some(map(shown, volumes))}", "give the file itself; hilum run takes all of them")
    packed = packed_files(names)
    if packed:
        what = f"{len(packed)} packed files (gzip, zip, tar) lie in it" if len(packed) > 1 else "an archive lies in it"
        return Lies(f"{what}: {name_some(map(shown, packed))}", "unpack them, and give the folder")
    return None


def packed_files(names: Sequence[str]) -> list[str]:
    """The archives and packed slices among files; volumes that are packed by themselves are none.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    list of str
    """
    return [n for n in names if n.lower().endswith(_PACKED) and not n.lower().endswith(_VOLUMES)]


def not_downloaded(folder: Path, dangling: Sequence[str], beside: int = 0) -> InputError:
    """Refuse a folder, or a file, whose content is not there.

    Parameters
    ----------
    folder : Path
    dangling : sequence of str
        The links that lead nowhere.
    beside : int
        How many other files lie there, none of which is a slice.

    Returns
    -------
    InputError
    """
    total = len(dangling) + beside
    how_many = f"{len(dangling)} of {total} files" if beside else f"all {total} files" if total > 1 else "the file"
    are = "are links" if total > 1 else "is a link"
    return MissingInputError(
        f"{how_many} {are} to content that is not here",
        where=folder,
        do="download the content (git annex get, datalad get, dvc pull)",
        code="not-downloaded",
    )


def unreadable_folder(folder: Path) -> InputError:
    """Refuse a folder that may not be opened.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    InputError
    """
    return InputError("the folder may not be opened", where=folder, do="check its permissions", code="unreadable")


def no_readable_slice(
    root: Path, folder: str, *, junk: Sequence[str], damaged: Sequence[str], locked: Sequence[str]
) -> InputError:
    """Refuse a folder in which files look like slices, and none is one.

    Parameters
    ----------
    root : Path
    folder : str
        Relative to it.
    junk, damaged, locked : sequence of str
        Files that are no DICOM, whose DICOM header is damaged, and that may not be opened; relative to the root.

    Returns
    -------
    InputError
    """
    total = len(junk) + len(damaged) + len(locked)
    kinds = Counter({"damaged or cut off": len(damaged), "not to be opened": len(locked)})
    kinds.update(_what(root / name) for name in junk[:_LOOKED_AT])
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4) if count)
    what = f"none of {total} files is a slice that can be read: {told}"
    if len(locked) == total:
        return SeriesError(what, where=root / folder, do="check the permissions", code="unreadable")
    do = "download it again"
    if any("pointers" in kind for kind in kinds):
        do = "download the content (git lfs pull, git annex get)"
    return SeriesError(what, where=root / folder, do=do, code="no-dicom")


def _what(path: Path) -> str:
    """What a file is that should be DICOM."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return "not to be opened"
    if not head.strip(b"\0"):
        return "filled with zeros" if head else "empty"
    lower = head.lstrip().lower()
    return next((kind for mark, kind in _HEADS if lower.startswith(mark.lower())), "not DICOM")
