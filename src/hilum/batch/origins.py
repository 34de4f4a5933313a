"""Where the scans of a run came from, as its index has it, and whether the output folder knows them by other names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.datasets.naming import possible_names
from hilum.errors import InputError, OutputError
from hilum.io.uids import hashed_uid, hide_uids, is_uid
from hilum.outputs.scans_index import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hilum.datasets.survey import Survey
    from hilum.outputs.ledger import Ledger
    from hilum.scan import ScanRef


def origins_of(refs: Sequence[ScanRef], found: Survey, *, hide: bool) -> dict[str, Origin]:
    """Tell where the scans and the refused inputs of a run came from.

    Parameters
    ----------
    refs : sequence of ScanRef
    found : Survey
    hide : bool
        Whether series UIDs must not leave.

    Returns
    -------
    dict of str to Origin
        By the ids of the ledger's rows.
    """
    origins = {name: Origin(source=source, path=path) for name, (source, path) in found.refused_paths.items()}
    for ref in refs:
        uid = ref.series_uid if is_uid(ref.series_uid) else ""
        shown = hashed_uid(uid) if uid and hide else uid
        origins[ref.scan_id] = Origin(ref.dataset, shown, ref.case, ref.source, ref.place)
    return origins


def check_hidden(refs: Sequence[ScanRef]) -> None:
    """Refuse ids that show a series UID, where those must not leave.

    Parameters
    ----------
    refs : sequence of ScanRef

    Raises
    ------
    InputError
        If an id does.
    """
    for ref in refs:
        if hide_uids(ref.scan_id) != ref.scan_id:
            what = "would be called after a series UID, which the recipe hides"
            raise InputError(what, where=ref.path, do="give another --name-by", code="name")


def check_names(refs: Sequence[ScanRef], book: Ledger, out: Path) -> None:
    """Refuse to make scans a second time that the output folder has under other names.

    Parameters
    ----------
    refs : sequence of ScanRef
    book : Ledger
    out : Path
        The run's output folder.

    Raises
    ------
    OutputError
        If the ledger does not know a scan by its id, but by what another rule calls it.
    """
    now = {ref.scan_id for ref in refs}
    for ref in refs:
        if book.get(ref.scan_id) is not None:
            continue
        for rule, other in possible_names(ref).items():
            if other not in now and book.get(other) is not None:
                what = f"holds these scans under other names, such as {other!r} for {ref.scan_id!r}"
                do = f"give --name-by {rule}, or another --out"
                raise OutputError(what, where=out, do=do, code="exists")
