"""Which scans a data list of MONAI trains on, and which it holds out for validation and testing: whole folds."""

from pathlib import Path

from hilum.errors import InputError
from hilum.train.runs import ListedScan, Skip


def divide(
    scans: list[ListedScan], folder: Path, skipped: list[Skip], *, validation: str, testing: str
) -> dict[str, list[ListedScan]]:
    """Divide scans into ``training``, ``validation`` and ``testing`` by the folds of their patients.

    Parameters
    ----------
    scans : list of ListedScan
        In the order in which they are listed.
    folder : Path
        The run's folder, for errors.
    skipped : list of Skip
        Gets scans without a fold where others have one, and a note if there is no fold to hold out.
    validation : str
        A fold; if empty, the first one that leaves another to train on.
    testing : str
        Another fold; none if empty.

    Returns
    -------
    dict of str to list of ListedScan

    Raises
    ------
    InputError
        If no scan is in a fold that was chosen, or one fold was chosen twice.
    """
    folds = sorted({scan.patient_fold for scan in scans} - {""}, key=lambda fold: (len(fold), fold))
    for chosen in filter(None, (validation, testing)):
        if chosen not in folds:
            what = f"no scan is in the fold {chosen!r} (folds: {', '.join(folds) or 'none'})"
            raise InputError(what, where=folder, do="choose one of them", code="option")
    if validation and validation == testing:
        what = f"the fold {testing!r} cannot be for validation and for testing"
        raise InputError(what, where=folder, do="choose two folds", code="option")
    rest = [fold for fold in folds if fold != testing]
    validation = validation or (rest[0] if len(rest) > 1 else "")
    if not validation:
        reason = "the scans have no fold to hold out: 'validation' is empty; see 'hilum folds'"
        skipped.append(Skip(scan="", code="no-folds", reason=reason))
    if folds:
        skipped += [scan.skip("no-fold", "it has no fold, and others have") for scan in scans if not scan.patient_fold]
        scans = [scan for scan in scans if scan.patient_fold]
    part_of = {testing: "testing", validation: "validation"} if folds else {}
    parts: dict[str, list[ListedScan]] = {"training": [], "validation": [], "testing": []}
    for scan in scans:
        parts[part_of.get(scan.patient_fold, "training")].append(scan)
    return parts


def fold_entry(scan: ListedScan) -> dict[str, int | str]:
    """The fold of a scan's patient as an entry of a data list, a number where it is one; empty without a fold."""
    fold = scan.patient_fold
    return {"fold": int(fold) if fold.isdecimal() else fold} if fold else {}
