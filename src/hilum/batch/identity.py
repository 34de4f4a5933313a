"""What a result comes from: the files of one scan, and two hashes by which a later run knows whether any of it changed.

1. `stamp` looks at names, sizes and times. Where it is unchanged nothing is read, and the finished scan stays.
2. Where it changed, `fingerprint` decides by the content of the files that the reader takes, and of no other.
3. `look` and `check_unchanged` bracket the reading: a file that changes in between would be stored under a wrong hash.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import hilum
from hilum.errors import HilumError, InputError
from hilum.io import header_uid, is_volume, scan_names, suffix_of
from hilum.io.folder_listing import list_folder
from hilum.io.source_files import list_source_files
from hilum.ops.lungs.onnx import model_digest
from hilum.ops.lungs.segment import MODEL
from hilum.outputs.checksums import file_sha256
from hilum.recipes import recipe_fingerprint
from hilum.scan import DatasetEntry

if TYPE_CHECKING:
    from hilum.recipes import Recipe
    from hilum.scan import ScanRef

CHANGED = "changed"
"""The code of a scan whose files changed while it was read."""

_FileState = tuple[int, ...] | None
"""Size, times of change and inode of a file; None for one that is not there."""


@dataclass(frozen=True)
class InputSnapshot:
    """The files of a scan at one moment.

    Parameters
    ----------
    files : list of tuple of str and Path
        What the reader takes: the name relative to the scan's path, and where the file lies.
    marks : dict of Path to tuple
        How each of them was, and each file beside them that could join them.
    """

    files: list[tuple[str, Path]]
    marks: dict[Path, _FileState]


def snapshot(ref: ScanRef) -> InputSnapshot:
    """Find the files of a scan, before it is read.

    Parameters
    ----------
    ref : ScanRef

    Returns
    -------
    InputSnapshot
    """
    around = _around(ref)
    marks = {path: _mark(path) for _, path in (*around, *_beside(ref))}
    return InputSnapshot(_taken(ref, around), marks)


def check_unchanged(ref: ScanRef, before: InputSnapshot) -> None:
    """InputSnapshot at the files of a scan again, after it was read.

    Parameters
    ----------
    ref : ScanRef
    before : InputSnapshot
        From `look`, made before `fingerprint` and the reader opened a file.

    Raises
    ------
    InputError
        If a file changed, is gone, or joined them.
    """
    around = _around(ref)
    now = {path: _mark(path) for _, path in (*around, *_beside(ref))}
    other = {path for path in {*now, *before.marks} if now.get(path) != before.marks.get(path)}
    if not other:
        return
    own = {path for _, path in (*before.files, *_beside(ref))}
    if other & own or _taken(ref, [part for part in around if part[1] in other]):
        raise InputError("the input changed while it was read", where=ref.path, do="run it again", code=CHANGED)


def fingerprint(ref: ScanRef, recipe: Recipe, seen: InputSnapshot | None = None) -> str:
    """Hash of everything a result comes from: the content of the input's files, the recipe, the version.

    Parameters
    ----------
    ref : ScanRef
        Of a folder, the files that hold the series are read, and no others. Neither their times nor where the data set
        lies count. What tables say of this one scan counts, not the rest of them.
    recipe : Recipe
        Where its lung method is a model, that file's bytes count.
    seen : InputSnapshot, optional
        From `look`; without it the files are looked for.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = _origin(ref, recipe)
    if (model := _model(recipe)) is not None:
        digest.update(model_digest(model).encode())
    files = snapshot(ref).files if seen is None else seen.files
    for name, path in (*files, *_beside(ref)):
        told = _told_of(ref, path) if path == ref.annotations else ""
        try:
            digest.update(f"\n{name} {told or file_sha256(path)}".encode("utf-8", "surrogateescape"))
        except (OSError, InputError):  # the reader's to refuse
            digest.update(f"\n{name} unreadable".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def input_stamp(ref: ScanRef, recipe: Recipe) -> str:
    """Hash of the same, with the size and time of change of the input's files in place of their content.

    Where it is unchanged nothing is; where it changed, `fingerprint` decides.

    Parameters
    ----------
    ref : ScanRef
        Of a folder whose series the listing did not open, all files count that are not hidden.
    recipe : Recipe

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = _origin(ref, recipe)
    model = _model(recipe)
    own = [(name, ref.path / name) for name in ref.files] or _around(ref)
    for name, path in (*own, *_beside(ref), *(list_source_files(model) if model else [])):
        try:
            found = path.stat()
        except OSError:
            continue
        text = f"\n{name} {found.st_size} {found.st_mtime_ns}"
        digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _origin(ref: ScanRef, recipe: Recipe) -> hashlib._Hash:
    digest = hashlib.sha256(f"{hilum.__version__} {_decided(recipe)} {ref.series_uid}".encode())
    known = ref.known or DatasetEntry()
    nodules = [(n.center, n.diameter_mm) for n in known.nodules]
    notes = [(note.code, note.text) for note in known.notes]
    digest.update(repr((known.annotated, sorted(known.labels.items()), nodules, notes)).encode())
    for kind, values in sorted(known.locations.items()):
        digest.update(kind.encode() + values.tobytes())
    return digest


_decided = functools.lru_cache(maxsize=4)(recipe_fingerprint)
"""The same for every scan of a run."""


def _model(recipe: Recipe) -> Path | None:
    method = recipe.lungs.method
    return Path(method.removeprefix(MODEL)) if method.startswith(MODEL) else None


def _beside(ref: ScanRef) -> list[tuple[str, Path]]:
    """What belongs to a scan beside its own files; what is not there is the reader's to refuse."""
    roots = (ref.annotations, (ref.known or DatasetEntry()).lungs)
    return [part for root in roots if root is not None and root.exists() for part in list_source_files(root)]


def _is_folder(ref: ScanRef) -> bool:
    """Whether a scan is searched for in a folder."""
    return ref.path.is_dir() and not is_volume(ref.path)


def _around(ref: ScanRef) -> list[tuple[str, Path]]:
    """The files that the reader of a scan may look at, by name."""
    if _is_folder(ref):
        return [(name, ref.path / name) for name in list_folder(ref.path).files]
    return list_source_files(ref.path) if ref.path.exists() else []


def _taken(ref: ScanRef, among: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Those of some files that the reader takes."""
    if not among or not _is_folder(ref):
        return among
    from hilum.io.dicom.index import list_slices

    return [(name, ref.path / name) for name in list_slices(ref.path, ref.series_uid, [name for name, _ in among])]


def _mark(path: Path) -> _FileState:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _told_of(ref: ScanRef, path: Path) -> str:
    """What a csv of nodules says of one series; empty where the series is not known before it is read: all counts."""
    volume = is_volume(ref.path)
    if suffix_of(path) != ".csv" or not (ref.series_uid or volume):
        return ""
    from hilum.io.annotations.luna import read_series_rows

    # What `hilum.read` looks for; which of these names the table has is the reader's to say.
    names = dict.fromkeys((ref.series_uid, header_uid(ref.path) if volume else "", *scan_names(ref.path)))
    try:
        rows = read_series_rows(path, "annotations", only=set(filter(None, names)))
    except HilumError:  # the reader's to refuse
        return ""
    return repr([(name, row.rows, row.values.tolist(), str(row.refusal)) for name, row in rows.items()])
