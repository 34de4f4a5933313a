"""Refusals of files that should be a scan and cannot be read: dangling links, failed downloads, locked folders."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from hilum.errors import InputError, MissingInputError, SeriesError, name_some

_WITHOUT_SUFFIX = re.compile(r"(?=.*\d)[\w-]+|[\d.]+|.*\.\d+")
"""Names without a suffix but with a digit, and names with digits as suffix: ``IM000001``, ``000001``, a UID."""

_SLICES = (".dcm", ".dicom", ".ima", ".dcm.gz")
_VOLUMES = (".nii", ".nii.gz", ".mhd", ".mha", ".nrrd", ".nhdr")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_PACKED = (".zip", ".gz", ".tar", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")


_HEADS = (
    (b"version https://git-lfs", "pointers of Git LFS"),
    (b"/annex/objects/", "pointers of git-annex"),
    (b"<!doctype", "web pages"),
    (b"<html", "web pages"),
    (b"<?xml", "XML"),
    (b"PK\x03\x04", "zip archives"),
)

Names = Sequence[str]


def looks_like_dicom(name: str, *, bare: bool = True) -> bool:
    """Whether a file has a name that scanners and archives give to slices.

    Parameters
    ----------
    name : str
        A path, with ``/``.
    bare : bool
        Whether a name without a suffix counts; in a folder with a volume's header it may be its data.
    """
    last = name.rsplit("/", 1)[-1]
    return last.lower().endswith(_SLICES) or (bare and _WITHOUT_SUFFIX.fullmatch(last) is not None)


def describe_other_files(names: Names, shown: Callable[[str], str]) -> tuple[str, str] | None:
    """Describe the volume files or archives in a folder without DICOM.

    Parameters
    ----------
    names : sequence of str
        The files of the folder.
    shown : callable
        From a file to its name in messages.

    Returns
    -------
    tuple of str or None
        What is there, and what to do; None where there is neither.
    """
    if volumes := [name for name in names if name.lower().endswith(_VOLUMES)]:
        what = f"it contains {len(volumes)} volume files" if len(volumes) > 1 else "it contains a volume file"
        return f"{what}: {name_some(map(shown, volumes))}", "give the file itself; hilum run reads all of them"
    if packed := packed_files(names):
        several = f"it contains {len(packed)} packed files (gzip, zip, tar)"
        what = several if len(packed) > 1 else "it contains an archive"
        read = any(name.lower().endswith(_ARCHIVES) for name in packed)
        do = "give the archive itself; hilum run reads all of them" if read else "unpack them, and give the folder"
        return f"{what}: {name_some(map(shown, packed))}", do
    return None


def packed_files(names: Names) -> list[str]:
    """The archives and packed slices among files, without packed volumes."""
    return [n for n in names if n.lower().endswith(_PACKED) and not n.lower().endswith(_VOLUMES)]


def not_downloaded(folder: Path, dangling: Names, others: int = 0) -> InputError:
    """Refuse a folder or file whose content was not downloaded.

    Parameters
    ----------
    folder : Path
        The folder or file to look at.
    dangling : sequence of str
        The links without a target.
    others : int
        Number of other files in the folder, none of them a slice.
    """
    total = len(dangling) + others
    how_many = f"{len(dangling)} of {total} files" if others else f"all {total} files" if total > 1 else "the file"
    what = f"{how_many} {'are links' if total > 1 else 'is a link'} to content that is not here"
    do = "download the content (git annex get, datalad get, dvc pull)"
    return MissingInputError(what, where=folder, do=do, code="not-downloaded")


def unreadable_folder(folder: Path) -> InputError:
    """Refuse a folder that cannot be opened."""
    return InputError("the folder cannot be opened", where=folder, do="check its permissions", code="unreadable")


def no_readable_slice(root: Path, folder: str, *, junk: Names, damaged: Names, locked: Names) -> InputError:
    """Refuse a folder with files that look like slices but are not.

    Parameters
    ----------
    root : Path
        The folder or file to look at.
    folder : str
        Relative to it.
    junk, damaged, locked : sequence of str
        Files that are not DICOM, that have a damaged DICOM header, and that cannot be opened; relative to the root.
    """
    total = len(junk) + len(damaged) + len(locked)
    kinds = Counter({"damaged or cut off": len(damaged), "that cannot be opened": len(locked)})
    kinds.update(_kind_of(root / name) for name in junk[:2000])  # of more, not every one is opened
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4) if count)
    what = f"none of {total} files is a readable slice: {listed}"
    if len(locked) == total:
        return SeriesError(what, where=root / folder, do="check the permissions", code="unreadable")
    pointers = any("pointers" in kind for kind in kinds)
    do = "download the content (git lfs pull, git annex get)" if pointers else "download it again"
    return SeriesError(what, where=root / folder, do=do, code="no-dicom")


def _kind_of(path: Path) -> str:
    """What a file is instead of DICOM, from its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return "that cannot be opened"
    if not head.strip(b"\0"):
        return "filled with zeros" if head else "empty"
    lower = head.lstrip().lower()
    return next((kind for mark, kind in _HEADS if lower.startswith(mark.lower())), "not DICOM")
