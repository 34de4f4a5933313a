"""The first screen of the page: which scans a person has to check, why, and what to do, without scrolling."""

from collections import Counter, defaultdict

from hilum.report.gather import Entry, PageContent
from hilum.report.risk import CHECK
from hilum.report.text import html, visible

MOST_NAMES = 90  # scans named on the first screen, the worst first; more do not fit into it

_NAME_CHARACTERS = 40

_REDO = "if so, leave it out or give its mask with --corrections"
_MEANING = {
    "lungs-not-found": ("no lungs were found", "is it a chest?"),
    "missed-lung": ("lung is missing from the mask", _REDO),
    "dense-lung-missing": ("dense lung may be missing from the mask", _REDO),
    "border-in-lung": ("the mask ends inside a lung", _REDO),
    "border-in-tissue": ("the mask extends into tissue", _REDO),
    "organ-included": ("the mask includes an organ", _REDO),
    "gas-included": ("the mask includes bowel gas", _REDO),
    "heart-included": ("the mask includes the heart", _REDO),
    "leak": ("the mask leaks out of the lungs", _REDO),
    "not-lung": ("the mask is not lung", _REDO),
    "one-lung": ("one lung is much smaller", "absent, diseased, or missed?"),
    "small-lung": ("a lung is very small", "diseased, a child's, or missed?"),
    "ragged": ("the mask is ragged", _REDO),
    "sides-mixed": ("right and left are mixed", _REDO),
    "not-hu": ("values are not Hounsfield units", "check the rescale of the file; see --hu-offset"),
    "implausible-size": ("voxels do not fit a person", "check the spacing"),
    "nodule-outside": ("a nodule lies outside the scan", "check that the table belongs to it"),
    "nodule-beside-lungs": ("a nodule lies outside the lung mask", "check the mask and the table"),
    "unsupported": ("hilum does not read this kind of file", "the reason is in the list"),
    "format": ("the file is damaged or of another format", "the reason is in the list"),
    "header": ("the header cannot be used", "the reason is in the list"),
    "path": ("the path cannot be used", "the reason is in the list"),
    "one-position": ("all slices lie at one position", "the reason is in the list"),
    "missing": ("something is missing", "add it and run again"),
}
"""What a code means, and what to do. The others are shown as they are, and the list says what they mean."""


def title_of(entry: Entry) -> str:
    """The name by which people know a scan: its public case, else its id."""
    return entry.case or entry.id


def attention(run: PageContent) -> str:
    """Name the scans to check by reason, the worst first, as HTML; exactly those of the levels from `CHECK` on."""
    named = [(number, entry) for number, entry in enumerate(run.entries) if entry.risk >= CHECK]
    groups: defaultdict[tuple[bool, str], list[tuple[int, Entry]]] = defaultdict(list)
    for number, entry in named[:MOST_NAMES]:
        groups[entry.geometry is None, entry.flags[0].name].append((number, entry))
    told = f"{len(named)} of {len(run.entries)} scans to check" if named else "No scan to check"
    statuses = Counter(entry.status for entry in run.entries)
    counts = ", ".join(f"{count} {html(status)}" for status, count in sorted(statuses.items()))
    rest = len(named) - MOST_NAMES
    more = f"The first {MOST_NAMES} are named here; {rest} more follow in the list below." if rest > 0 else ""
    lines = "".join(_group(code, missing=missing, scans=scans) for (missing, code), scans in groups.items())
    return f'<p id="to-check"><b>{told}.</b> {counts}. {more}</p><dl id="first">{lines}</dl>'


def _group(code: str, *, missing: bool, scans: list[tuple[int, Entry]]) -> str:
    words, do = _MEANING.get(code, (code, ""))
    level = "not stored: " if missing else ""
    head = f"<dt>{level}{html(words)} ({len(scans)})" + (f" <small>{html(do)}</small>" if do else "") + "</dt>"
    names = "".join(
        f'<button type="button" data-scan="{number}" title="{html(entry.id)}: {html(entry.flags[0].text)}" dir="auto">'
        f"{html(visible(title_of(entry), limit=_NAME_CHARACTERS))}</button>"
        for number, entry in scans
    )
    return f"{head}<dd>{names}</dd>"
