"""The first thing on the page: the scans that a person must check, by their worst finding."""

from collections.abc import Sequence

from hilum.report.gather import Entry
from hilum.report.risk import CHECK
from hilum.report.text import html

_MASK = "correct the mask in the viewer, or leave the scan out"

WORDS = {
    "beyond-bits": ("values need more bits than the file states", "compare the scan with another viewer"),
    "border-in-lung": ("the lung mask ends within a lung", _MASK),
    "border-in-tissue": ("the border of the lung mask lies in tissue", _MASK),
    "contours-left-out": ("contours were left out", "see which"),
    "contours-misplaced": ("contours lie on other slices than they name", "look at the label"),
    "default-grid": ("the voxel size looks like a default", "compare it with the source"),
    "dense-lung-missing": ("dense lung or fluid may be missing from the mask", _MASK),
    "empty-region": ("a chosen region has no voxel of the scan", "check that it belongs to the scan"),
    "gas-included": ("the lung mask holds gas of bowel or trachea", _MASK),
    "heart-included": ("the lung mask holds tissue between the lungs", _MASK),
    "implausible-size": ("the voxel size is impossible", "correct the spacing in the header"),
    "leak": ("the lung mask holds air outside the patient", _MASK),
    "lungs-not-found": ("no lung was found", "is it a chest?"),
    "missed-lung": ("the lung mask misses air of the lungs", _MASK),
    "mixed-axes": ("some nodules have other axes than the rest", "correct the table"),
    "nodule-beside-lungs": ("a nodule lies outside the lung mask", "check the mask and the table"),
    "nodule-outside": ("a nodule lies outside the scan", "check that the table belongs to it"),
    "not-hu": ("the values are not HU", "see --hu-offset and --rescale"),
    "not-lung": ("the lung mask is too bright or too dark for lungs", _MASK),
    "one-lung": ("one lung is absent or tiny", "resected, full of fluid, or missed?"),
    "organ-included": ("the lung mask holds solid tissue", "an organ, or a mass?"),
    "ragged": ("the lung mask is in pieces, or thin", _MASK),
    "sides-mixed": ("left and right are mixed up in the lung mask", _MASK),
    "small-lung": ("a lung is too small", "diseased, a child's, or missed?"),
    "wrong-axes": ("the nodules have wrong axes or units", "give --axes, or correct the table"),
    "missing-output": ("the output is missing", "run again"),
    "not-in-ledger": ("the ledger does not list this scan", "run again"),
}
"""What alarms, and faults of a run's records, say in a few words, and what to do. A refusal has its own reason."""

_MOST_NAMES = 120  # of one reason


def to_check(entries: Sequence[Entry]) -> str:
    """Name every scan without output or with an alarm once, below its worst finding.

    Parameters
    ----------
    entries : sequence of Entry
        All scans, in the order of the page.

    Returns
    -------
    str
        HTML; the script of the page makes each name a way to the scan in the table.
    """
    groups: dict[tuple[int, str], list[tuple[int, Entry]]] = {}
    for number, entry in enumerate(entries):
        if entry.risk >= CHECK:
            groups.setdefault((entry.risk, entry.flags[0].name), []).append((number, entry))
    if not groups:
        return "<p>No scan has an alarm, and none was refused or failed.</p>"
    ordered = sorted(groups.items(), key=lambda item: (-item[0][0], -len(item[1]), item[0][1]))
    lines = "".join(_reason(risk, name, scans) for (risk, name), scans in ordered)
    return f'<dl class="reasons">{lines}</dl>'


def _reason(risk: int, name: str, scans: Sequence[tuple[int, Entry]]) -> str:
    """One finding, and the scans that have it."""
    words, do = WORDS.get(name, ("not stored: the reason is in the table below", ""))
    links = ", ".join(_link(number, entry) for number, entry in scans[:_MOST_NAMES])
    rest = f" and {len(scans) - _MOST_NAMES} more, in the table below" if len(scans) > _MOST_NAMES else ""
    chip = f'<span class="chip risk{risk}" dir="auto">{html(name)}</span>'
    told = f"{chip} {html(words)} ({len(scans)}) <small>{html(do)}</small>"
    return f"<div><dt>{told}</dt><dd>{links}{rest}</dd></div>"


def _link(number: int, entry: Entry) -> str:
    told = "; ".join(flag.text for flag in entry.flags if flag.level >= CHECK)
    return f'<a href="#scan-{number}" data-number="{number}" title="{html(told)}" dir="auto">{html(entry.title)}</a>'
