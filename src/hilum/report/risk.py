"""How urgently a person should look at each scan, and why."""

from collections.abc import Iterable

import msgspec

from hilum.outputs import dataset_summary, findings, ledger, records
from hilum.pipeline import note_outside_lungs

FINE, REPAIRED, LOOK, CHECK, NO_OUTPUT = range(5)
LEVELS = ("fine", "repaired", "look", "check first", "no output")  # names of the risk levels, the lowest first

LEVEL_WORDS = (
    "no finding, or none that changed the scan",
    "hilum changed the image or its geometry",
    "may be right, but look: cropped, dense lungs, slices interpolated, a label lost, a score below 0.75",
    "something is probably wrong: an alarm",
    "refused or failed; the reason says why and what to do",
)
"""What each level means."""

LOW_SCORE = 0.75  # a lung score below this is worth a look, even without an alarm


class Flag(msgspec.Struct, frozen=True):
    """One reason to look at a scan: a short name, one line, and a risk level."""

    name: str
    text: str
    level: int


def flags(row: ledger.Row | None, record: records.ScanRecord | None) -> list[Flag]:
    """Collect the reasons to look at a scan.

    Parameters
    ----------
    row : Row or None
        Its ledger row.
    record : ScanRecord or None
        Its ``scan.json``, if it is finished.

    Returns
    -------
    list of Flag
        The highest risk first.
    """
    reasons = []
    if row is None:
        reasons.append(Flag("not-in-ledger", "the ledger does not list this finished scan", CHECK))
    elif row.reason:
        reasons.append(Flag(row.code or row.status, row.reason, NO_OUTPUT))
    elif record is None:
        text = f"the ledger says {row.status}, but there is no finished scan"
        reasons.append(Flag("missing-output", text, NO_OUTPUT))
    if record is not None:
        reasons += [Flag(note["code"], note["text"], level_of(note["code"])) for note in record.notes]
        if all(flag.name != findings.NODULE_OUTSIDE_LUNGS for flag in reasons):  # older records lack this note
            reasons += _nodule_flags(record)
        score = record.figures.get("lung_score")
        if score is not None and score < LOW_SCORE and all(flag.level < LOOK for flag in reasons):
            reasons.append(Flag("low-score", f"the lung mask scores {score:.2f} of 1", LOOK))
    elif row is not None:
        for code, _, text in (note.partition(": ") for note in row.notes):
            reasons.append(Flag(code, text, level_of(code)))
    return sorted(reasons, key=lambda flag: -flag.level)


def level_of(code: str) -> int:
    """The risk level of a note: an index into `LEVELS`."""
    level = {"alarm": CHECK, "changed": REPAIRED, "info": FINE}[findings.kind_of(code)]
    return max(level, LOOK) if code in findings.REVIEW_CODES else level


def risk(reasons: Iterable[Flag]) -> int:
    """The risk level of a scan: the highest level of its flags."""
    return max((flag.level for flag in reasons), default=FINE)


def _nodule_flags(record: records.ScanRecord) -> list[Flag]:
    inside = {n.label: n.inside_lungs for n in record.nodules if n.inside and n.inside_lungs is not None}
    labels = [label for label, fraction in inside.items() if fraction < dataset_summary.INSIDE_FRACTION]
    return [Flag(note.code, note.text, CHECK) for note in note_outside_lungs(labels)]
