"""What every note on a scan means for its data: it was changed, it is probably wrong, or nothing happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

NoteKind = Literal["changed", "alarm", "told"]
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
    "chose-series": "told",
    "dangling-links": "told",
    "duplicate-slices": "told",
    "forms-differ": "told",
    "ignored-color-image": "told",
    "ignored-damaged-file": "told",
    "ignored-files": "told",
    "ignored-incomplete-copy": "told",
    "ignored-links": "told",
    "ignored-localizer": "told",
    "ignored-other-modality": "told",
    "ignored-secondary-capture": "told",
    "location-tag-disagrees": "told",
    "low-hu": "told",
    "minmax-tags-disagree": "told",
    "modality-lut": "told",
    "padding-to-air": "told",
    "qform-unusable": "told",
    "spacing-tag-disagrees": "told",
    "split-series": "told",
    "trailing-bytes": "told",
    "unreadable-files": "told",
    "unreadable-folders": "told",
    # Of its lungs: a right mask may be all that.
    "airway-included": "told",
    "cropped": "told",
    "dense-lung": "told",
    "given-lungs": "told",
    "lungs-doubtful": "told",
    "lungs-fallback": "told",
    # Of its annotations.
    "assumed-pixels": "told",
    "bad-scores": "told",
    "crowded-nodule": "told",
    "duplicate-label": "told",
    "duplicate-nodules": "told",
    "marks-not-drawn": "told",
    "matched-by-name": "told",
    "no-nodules": "told",
    "no-reading": "told",
    "no-rows": "told",
    "outlines-beyond": "told",
    "several-readings": "told",
    "slice-position-differs": "told",
    "unknown-slices": "told",
    "useless-outlines": "told",
    # Of a search for scans.
    "ignored-archives": "told",
    "no-ct-images": "told",
    "not-luna16": "told",
    "own-output": "told",
    "same-file": "told",
    "same-scan": "told",
    "same-series": "told",
    "table-beside": "told",
    "unused-table": "told",
    # Of a data set, and of a table of detections.
    "chose-table": "told",
    "duplicate-detections": "told",
    "duplicate-series": "told",
    "marks-beyond-limit": "told",
    "no-annotations": "told",
    "no-detections": "told",
    "no-labels": "told",
    "patient-in-folds": "told",
    "readings-without-scan": "told",
    "rows-without-scan": "told",
    "samples-without-nodule": "told",
    "scans-assumed": "told",
    "scans-without-rows": "told",
    "unknown-series": "told",
    "xray-readings": "told",
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
