"""What every note on a scan means for its data: it was changed, it is probably wrong, or nothing happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

NoteKind = Literal["changed", "alarm", "info"]
"""``changed``: what is stored is not what the files say; ``alarm``: something is probably wrong; ``told``: neither."""

NODULE_OUTSIDE_LUNGS = "nodule-beside-lungs"

NOTE_KINDS: dict[str, NoteKind] = {
    # The image, or where it lies, is not what the files say.
    "assumed-positions": "changed",
    "clipped-hu": "changed",
    "element-size": "changed",
    "missing-slices": "changed",
    "nan-to-air": "changed",
    "no-direction": "changed",
    "no-origin": "changed",
    "saturated": "changed",
    "uneven-spacing": "changed",
    "units": "changed",
    # The scan, its nodules or its lung mask are probably wrong.
    "border-in-lung": "alarm",
    "border-in-tissue": "alarm",
    "dented": "alarm",
    "heart-included": "alarm",
    "implausible-size": "alarm",
    "leak": "alarm",
    "lungs-not-found": "alarm",
    "missed-lung": "alarm",
    NODULE_OUTSIDE_LUNGS: "alarm",
    "nodule-outside": "alarm",
    "not-hu": "alarm",
    "not-lung": "alarm",
    "one-lung": "alarm",
    "ragged": "alarm",
    "sides-mixed": "alarm",
    "small-lung": "alarm",
    # Of the files of a scan: what was read is what they say.
    "chose-series": "info",
    "dangling-links": "info",
    "duplicate-slices": "info",
    "forms-differ": "info",
    "ignored-color-image": "info",
    "ignored-damaged-file": "info",
    "ignored-files": "info",
    "ignored-incomplete-copy": "info",
    "ignored-links": "info",
    "ignored-localizer": "info",
    "ignored-other-modality": "info",
    "ignored-secondary-capture": "info",
    "location-tag-disagrees": "info",
    "low-hu": "info",
    "minmax-tags-disagree": "info",
    "modality-lut": "info",
    "padding-to-air": "info",
    "qform-unusable": "info",
    "spacing-tag-disagrees": "info",
    "split-series": "info",
    "trailing-bytes": "info",
    "unreadable-files": "info",
    "unreadable-folders": "info",
    # Of its lungs: a right mask may be all that.
    "airway-included": "info",
    "cropped": "info",
    "dense-lung": "info",
    "given-lungs": "info",
    "lungs-doubtful": "info",
    "lungs-fallback": "info",
    # Of its annotations.
    "assumed-pixels": "info",
    "bad-scores": "info",
    "crowded-nodule": "info",
    "duplicate-label": "info",
    "duplicate-nodules": "info",
    "marks-not-drawn": "info",
    "matched-by-name": "info",
    "no-nodules": "info",
    "no-reading": "info",
    "no-rows": "info",
    "outlines-beyond": "info",
    "several-readings": "info",
    "slice-position-differs": "info",
    "unknown-slices": "info",
    "useless-outlines": "info",
    # Of a search for scans.
    "ignored-archives": "info",
    "no-ct-images": "info",
    "not-luna16": "info",
    "own-output": "info",
    "same-file": "info",
    "same-scan": "info",
    "same-series": "info",
    "table-beside": "info",
    "unused-table": "info",
    # Of a data set, and of a table of detections.
    "chose-table": "info",
    "duplicate-detections": "info",
    "duplicate-series": "info",
    "marks-beyond-limit": "info",
    "no-annotations": "info",
    "no-detections": "info",
    "no-labels": "info",
    "patient-in-folds": "info",
    "readings-without-scan": "info",
    "rows-without-scan": "info",
    "samples-without-nodule": "info",
    "scans-assumed": "info",
    "scans-without-rows": "info",
    "unknown-series": "info",
    "xray-readings": "info",
}
"""Every code that a note can have."""

REVIEW_CODES = frozenset({
    "airway-included", "assumed-pixels", "crowded-nodule", "cropped", "dense-lung", "ignored-damaged-file", "low-hu",
    "lungs-doubtful", "lungs-fallback", "missing-slices", "outlines-beyond", "saturated", "several-readings",
    "slice-position-differs", "split-series", "unknown-slices", "unreadable-files", "unreadable-folders",
})  # fmt: skip
"""Codes that are no alarm, and still want an eye: the data may be right, and may lack something."""


def kind_of(code: str) -> NoteKind:
    """The kind of a note.

    Parameters
    ----------
    code : str

    Returns
    -------
    NoteKind
        ``changed`` for a code that this version does not know: more than it deserves is better than less.
    """
    return NOTE_KINDS.get(code, "changed")


def codes_of(notes: Iterable[str], kind: NoteKind) -> list[str]:
    """Pick the codes of one kind from the notes of a scan.

    Parameters
    ----------
    notes : iterable of str
        Codes, or lines that begin with one and a colon.
    kind : NoteKind

    Returns
    -------
    list of str
        Each once, in their order.
    """
    codes = dict.fromkeys(note.partition(":")[0] for note in notes)
    return [code for code in codes if kind_of(code) == kind]


def finished_status(notes: Iterable[str]) -> Literal["done", "repaired"]:
    """The status of a scan that was stored.

    Parameters
    ----------
    notes : iterable of str
        As `codes_of` takes them.

    Returns
    -------
    str
        ``repaired`` where a note says that the data were changed, else ``done``.
    """
    return "repaired" if codes_of(notes, "changed") else "done"
