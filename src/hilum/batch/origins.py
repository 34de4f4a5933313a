"""The inputs of a run's scans for its index, and the check that the output folder does not use other names for them."""

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


def origins_of(refs: Sequence[ScanRef], survey: Survey, *, hide: bool) -> dict[str, Origin]:
    """Collect the origins of a run's scans and refused inputs.

    Parameters
    ----------
    refs : sequence of ScanRef
    survey : Survey
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
    ledger : Ledger
    out : Path
        The run's output folder.

    Raises
    ------
    OutputError
        If the ledger lists a scan not by its id, but by its name under another rule.
    """
    now = {ref.scan_id for ref in refs}
    for ref in refs:
        if ledger.get(ref.scan_id) is not None:
            continue
        for rule, other in possible_names(ref).items():
            if other not in now and ledger.get(other) is not None:
                what = f"contains these scans under other names, such as {other!r} for {ref.scan_id!r}"
                do = f"give --name-by {rule}, or another --out"
                raise OutputError(what, where=out, do=do, code="exists")
