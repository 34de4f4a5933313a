"""The identity of a result: the files of one scan, and two hashes that show a later run whether anything changed.

1. `input_stamp` hashes names, sizes and times. If it is unchanged, the finished scan is kept and nothing is read.
2. If it changed, `input_fingerprint` decides by the content of the files that the reader uses.
3. `snapshot` and `check_unchanged` enclose the reading: a file that changes in between would get a wrong hash.
"""

import functools
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import hilum
from hilum.errors import HilumError, InputError
from hilum.io import archives, folders, scan_files, source_files
from hilum.io.annotations.luna import read_series_rows
from hilum.io.volumes.formats import header_uid, is_volume, suffix_of
from hilum.ops.lungs import onnx, segment
from hilum.outputs.checksums import file_sha256
from hilum.recipes import Recipe, recipe_fingerprint
from hilum.scan_ref import ScanRef

CHANGED = "changed"  # the code of a scan whose files changed while it was read

_FileState = tuple[int, ...] | None  # size, times of change and inode of a file; None for a missing file


class InputHashes(NamedTuple):
    """Two hashes of a scan's input.

    Parameters
    ----------
    fingerprint : str
        From `input_fingerprint`.
    images : str
        The content of the image files alone, whatever their names, the recipe and the version.
    """

    fingerprint: str
    images: str


class InputSnapshot(NamedTuple):
    """The files of a scan at one moment.

    Parameters
    ----------
    files : list of tuple of str and Path
        The files that the reader uses: name relative to the scan's path, and path.
    states : dict of Path to tuple
        The state of each of them, and of other files that might belong to the scan.
    """

    files: list[tuple[str, Path]]
    states: dict[Path, _FileState]


def snapshot(ref: ScanRef) -> InputSnapshot:
    """Record the files of a scan before it is read."""
    candidates = _candidate_files(ref)
    return InputSnapshot(_files_read(ref, candidates), _states(ref, candidates))


def _states(ref: ScanRef, candidates: list[tuple[str, Path]]) -> dict[Path, _FileState]:
    return {path: _state(path) for _, path in (*candidates, *_companion_files(ref))}


def check_unchanged(ref: ScanRef, before: InputSnapshot) -> None:
    """Check after reading a scan that its files have not changed.

    Parameters
    ----------
    ref : ScanRef
        The scan that was read.
    before : InputSnapshot
        Taken before `input_fingerprint` and the reader opened a file.

    Raises
    ------
    InputError
        If a file changed, disappeared or was added.
    """
    candidates = _candidate_files(ref)
    now = _states(ref, candidates)
    if not (changed := {path for path in {*now, *before.states} if now.get(path) != before.states.get(path)}):
        return
    own = {path for _, path in (*before.files, *_companion_files(ref))}
    if changed & own or _files_read(ref, [file for file in candidates if file[1] in changed]):
        raise InputError("the input changed while it was read", where=ref.path, do="run it again", code=CHANGED)


def input_fingerprint(ref: ScanRef, recipe: Recipe, before: InputSnapshot | None = None) -> str:
    """Hash everything that decides a result: the content of the input's files, the recipe, the version.

    Parameters
    ----------
    ref : ScanRef
        In a folder only the files of the series are read. Their times and the location of the data set do not count.
        Of tables, only the rows of this scan count.
    recipe : Recipe
        If its lung method is a model, the content of the model counts.
    before : InputSnapshot, optional
        The files of the scan; by default they are listed here.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hash_input(ref, recipe, snapshot(ref) if before is None else before).fingerprint


def hash_input(ref: ScanRef, recipe: Recipe, before: InputSnapshot) -> InputHashes:
    """Hash the input of a scan once, as `input_fingerprint` does, and its image files alone."""
    digest = _origin(ref, recipe)
    if (model := model_file(recipe)) is not None:
        digest.update(onnx.model_digest(model).encode())
    images = []
    for number, (name, path) in enumerate((*before.files, *_companion_files(ref))):
        content = _table_rows(ref, path) if path == ref.annotations else ""
        try:
            content = content or file_sha256(path)
        except (OSError, InputError):  # the reader will refuse it
            content = "unreadable"
        digest.update(f"\n{name} {content}".encode("utf-8", "surrogateescape"))
        if number < len(before.files):
            images.append(content)
    return InputHashes(digest.hexdigest(), hashlib.sha256(" ".join(sorted(images)).encode()).hexdigest())


def input_stamp(ref: ScanRef, recipe: Recipe) -> str:
    """Hash the same as `input_fingerprint`, but with sizes and times of the input files, not their content.

    If it is unchanged, so is the input. If it changed, `input_fingerprint` decides.

    Parameters
    ----------
    ref : ScanRef
        In a folder whose files were not opened when it was listed, all files count that are not hidden.
    recipe : Recipe
        The recipe of the run.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = _origin(ref, recipe)
    model = model_file(recipe)
    own = [(name, ref.path / name) for name in ref.files if _is_folder(ref)] or _candidate_files(ref)
    for name, path in (*own, *_companion_files(ref), *(source_files.list_source_files(model) if model else [])):
        with suppress(OSError):
            status = path.stat()
            digest.update(f"\n{name} {status.st_size} {status.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _origin(ref: ScanRef, recipe: Recipe) -> "hashlib._Hash":
    digest = hashlib.sha256(f"{hilum.__version__} {_recipe_hash(recipe)} {ref.series_uid}".encode())
    known = ref.known
    nodules = [(n.center, n.diameter_mm, *sorted(n.scores.items())) for n in known.nodules]
    notes = [(note.code, note.text) for note in known.notes]
    digest.update(repr((known.annotated, sorted(known.labels.items()), nodules, notes)).encode())
    for kind, values in sorted(known.locations.items()):
        digest.update(kind.encode() + values.tobytes())
    for file in ref.label_files:
        digest.update(repr((file.kind, file.name, file.values, file.regions, file.grid, file.xor)).encode())
    for one in ref.corrections:
        digest.update(repr((one.mask, one.sha256, one.who, one.when)).encode())
    for marks in known.marks:
        digest.update(repr((marks.kind, marks.axes, [sorted(one.items()) for one in marks.scores])).encode())
        digest.update(marks.centers.tobytes() + marks.sizes.tobytes())
    return digest


_recipe_hash = functools.lru_cache(maxsize=4)(recipe_fingerprint)  # cached, because all scans of a run share the recipe


def model_file(recipe: Recipe) -> Path | None:
    """The file or folder of the model by which a recipe segments lungs; None if it uses another method."""
    method = recipe.lungs.method
    return Path(method.removeprefix(segment.MODEL)) if method.startswith(segment.MODEL) else None


def _companion_files(ref: ScanRef) -> list[tuple[str, Path]]:
    """The existing files of annotations, lungs and labels of a scan; the reader refuses missing ones."""
    labels = (archives.holder(file.path) for file in ref.label_files)
    roots = (ref.annotations, ref.known.lungs, *labels, *(one.path for one in ref.corrections))
    existing = (root for root in roots if root is not None and root.exists())
    return [file for root in existing for file in source_files.list_source_files(root)]


def _is_folder(ref: ScanRef) -> bool:
    """Check that a scan is a folder of files, not a volume."""
    return ref.path.is_dir() and not is_volume(ref.path)


def _candidate_files(ref: ScanRef) -> list[tuple[str, Path]]:
    """The files that the reader of a scan may open: names and paths."""
    if _is_folder(ref):
        return [(name, ref.path / name) for name in folders.list_folder(ref.path).files]
    return source_files.list_source_files(ref.path) if ref.path.exists() else []


def _files_read(ref: ScanRef, among: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Select the files that the reader uses."""
    if not among or not _is_folder(ref):
        return among
    from hilum.io.dicom.index import list_slices

    return [(name, ref.path / name) for name in list_slices(ref.path, ref.series_uid, [name for name, _ in among])]


def _state(path: Path) -> _FileState:
    with suppress(OSError):
        status = path.stat()
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    return None


def _table_rows(ref: ScanRef, path: Path) -> str:
    """The rows of one series in a csv of nodules; empty if the series is unknown before reading, so that all count."""
    volume = is_volume(ref.path)
    if suffix_of(path) != ".csv" or not (ref.series_uid or volume):
        return ""
    # `hilum.read` looks for these names.
    names = dict.fromkeys((ref.series_uid, header_uid(ref.path) if volume else "", *scan_files.scan_names(ref.path)))
    with suppress(HilumError):  # the reader will refuse it
        rows = read_series_rows(path, "annotations", only=set(filter(None, names)))
        return repr([(name, row.rows, row.values.tolist(), str(row.refusal)) for name, row in rows.items()])
    return ""
