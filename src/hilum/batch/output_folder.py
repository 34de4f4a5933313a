"""The output folder of a run: lock and recipe, the names of its scans, what a run would lose, what it removes."""

import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hilum.batch.corrections import NOTES
from hilum.batch.lock import output_lock
from hilum.datasets.naming import possible_names
from hilum.datasets.survey import Survey
from hilum.errors import InputError, OutputError, RecipeError
from hilum.io import archives, atomic, unfinished
from hilum.io.folders import RECIPE
from hilum.io.labels.map_names import map_names
from hilum.io.names import hashed_uid, hide_uids, is_uid
from hilum.outputs import checksums, records
from hilum.outputs.finished import RECORD, read_record, scans_folder
from hilum.outputs.folder import recipe_text
from hilum.outputs.ledger import Ledger
from hilum.outputs.scans_index import Origin
from hilum.recipes import Recipe, parse_recipe, recipe_fingerprint, recipe_toml
from hilum.scan_ref import ScanRef


def write_recipe(out: Path, recipe: Recipe, *, overwrite: bool) -> None:
    """Write the recipe, unless the folder has results of another one.

    Parameters
    ----------
    out : Path
        The output folder.
    recipe : Recipe
        The recipe of the run.
    overwrite : bool
        Write it even then.

    Raises
    ------
    OutputError
        If the folder has results of another recipe.
    """
    path, text = out / RECIPE, recipe_toml(recipe)
    before = ""
    with suppress(InputError):  # missing or damaged: each scan's own record names its recipe
        before = recipe_text(out)
    if before == text:
        return
    scans = out / "scans"
    finished = scans.is_dir() and any(not path.name.startswith(".") for path in scans.iterdir())
    if before and finished and not overwrite and _is_as_written(path):
        with suppress(RecipeError):  # it is damaged
            if recipe_fingerprint(parse_recipe(before)) != recipe_fingerprint(recipe):
                do = "give --overwrite to replace them, or another --out"
                raise OutputError("holds results of another recipe", where=out, do=do, code="exists")
    with atomic.atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _is_as_written(path: Path) -> bool:
    """Check a run's recipe against its checksum. A damaged recipe is ignored, because each scan's record names one."""
    with suppress(InputError):
        return checksums.read_checksums(path.parent).get(path.name) in {None, checksums.file_sha256(path)}
    return True


@contextmanager
def locked_output(out: Path) -> Iterator[str]:
    """Create and lock an output folder, and remove unfinished files before and after; yield as `output_lock` does.

    Raises
    ------
    OutputError
        If the folder cannot be created, its ``scans`` is a link, or another run holds the lock.
    """
    with atomic.refusing_writes(out):
        scans = scans_folder(out)
        scans.mkdir(parents=True, exist_ok=True)
    with output_lock(out) as name, ExitStack() as stack:
        for folder in (scans, out):
            unfinished.sweep(folder)
            stack.callback(unfinished.sweep, folder)
        stack.callback(archives.sweep)  # workers that were killed
        yield name


def origins_of(refs: Sequence[ScanRef], survey: Survey, *, hide: bool) -> dict[str, Origin]:
    """Collect the origins of a run's scans and refused inputs.

    Parameters
    ----------
    refs : sequence of ScanRef
        The scans of the run.
    survey : Survey
        What was listed, with the refused inputs.
    hide : bool
        Hash series UIDs.

    Returns
    -------
    dict of str to Origin
        By the ids of the ledger's rows.
    """
    origins = {name: Origin(source=source, path=path) for name, (source, path) in survey.refused_paths.items()}
    for ref in refs:
        uid = ref.series_uid if is_uid(ref.series_uid) else ""
        visible = hashed_uid(uid) if uid and hide else uid
        origins[ref.scan_id] = Origin(ref.dataset, visible, ref.case, ref.source, ref.place)
    return origins


def check_hidden(refs: Sequence[ScanRef]) -> None:
    """Refuse ids that show a series UID with an `InputError`, for a recipe that hides them."""
    for ref in refs:
        if hide_uids(ref.scan_id) != ref.scan_id:
            what = "its name would show the series UID, which the recipe hides"
            raise InputError(what, where=ref.path, do="give another --name-by", code="name")


def check_names(refs: Sequence[ScanRef], ledger: Ledger, out: Path) -> None:
    """Refuse scans that the output folder already contains under other names.

    Parameters
    ----------
    refs : sequence of ScanRef
        The scans of the run, with their ids.
    ledger : Ledger
        The ledger of the output folder.
    out : Path
        The run's output folder.

    Raises
    ------
    OutputError
        If the ledger lists a scan not by its id, but by its name under another rule.
    """
    now = {ref.scan_id for ref in refs}
    for ref in (ref for ref in refs if ledger.get(ref.scan_id) is None):
        for rule, other in possible_names(ref).items():
            if other not in now and ledger.get(other) is not None:
                what = f"contains these scans under other names, such as {other!r} for {ref.scan_id!r}"
                raise OutputError(what, where=out, do=f"give --name-by {rule}, or another --out", code="exists")


def check_removals(out: Path, ledger: Ledger, refs: Sequence[ScanRef]) -> None:
    """Refuse a run that would remove nodules, labels or findings from finished scans.

    Parameters
    ----------
    out : Path
        The run's output folder.
    ledger : Ledger
        The ledger of the output folder.
    refs : sequence of ScanRef
        The scans that would be made again.

    Raises
    ------
    OutputError
        If one of them has something that the new result would not have.
    """
    scans = scans_folder(out)
    removed: Counter[str] = Counter()
    for ref in refs:
        if ledger.is_finished(ref.scan_id) and (record := read_record(scans / ref.scan_id)):
            removed.update(_removed(record, ref))
    if removed:
        worst = removed.most_common(4)
        what = ", ".join(f"the {name} of {count} scan{'s' if count > 1 else ''}" for name, count in worst)
        labels = "--labels, --roi, " if any(name.startswith("label map") for name in removed) else ""
        labels += "--corrections, " if any(name.startswith("correction") for name in removed) else ""
        do = f"give {labels}--annotations and --dataset as before, or --overwrite to remove them"
        raise OutputError(f"this run would remove {what}", where=out, do=do, code="would-remove")


def _removed(record: records.ScanRecord, ref: ScanRef) -> list[str]:
    """Name what a finished scan has and a new result would not have."""
    names = ["nodules"] if records.is_annotated(record) and ref.annotations is None and not ref.known.annotated else []
    kept = {*ref.known.locations, *(marks.kind for marks in ref.known.marks)}
    names += [kind for kind in ("candidates", "excluded", "marks") if kind in record.parts and kind not in kept]
    corrected = {one.mask for one in ref.corrections}
    given = {*map_names(ref), *(mask.partition("/")[2] for mask in corrected)}
    names += [f"label map {name}" for name in record.label_maps if name not in given]
    codes = {note["code"] for note in record.notes}
    kinds = {mask.partition("/")[0] for mask in corrected}
    names += [f"correction of {kind}" for kind, code in NOTES.items() if code in codes and kind not in kinds]
    return names + [f"label {name}" for name in sorted(record.labels.keys() - ref.known.labels.keys())]


def prune(out: Path, ledger: Ledger, *, keep: Collection[str]) -> tuple[int, int]:
    """Remove rows and folders that belong neither to a finished scan nor to an input of this run.

    Rows are removed if the scan was refused or failed in an earlier run and is not an input now, or if its folder is
    missing. Folders are removed if the ledger does not call their scan finished. Files not from hilum remain.

    Parameters
    ----------
    out : Path
        The run's output folder, locked by this run.
    ledger : Ledger
        The caller has to compact it afterwards.
    keep : collection of str
        The ids of this run's inputs; their rows remain.

    Returns
    -------
    tuple of int
        The numbers of removed rows and folders.

    Raises
    ------
    OutputError
        If a folder cannot be removed.
    """
    scans = scans_folder(out)
    rows = [row.id for row in ledger.rows() if row.id not in keep]
    rows = [name for name in rows if not ledger.is_finished(name) or not (scans / name).is_dir()]
    for name in rows:
        ledger.drop(name)
    folders = [path for path in sorted(scans.iterdir()) if (path / RECORD).is_file() and not path.is_symlink()]
    folders = [path for path in folders if not (unfinished.is_unfinished(path.name) or ledger.is_finished(path.name))]
    for path in folders:
        with atomic.refusing_writes(path):
            shutil.rmtree(path)
    return len(rows), len(folders)
