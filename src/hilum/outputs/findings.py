"""The kind of every note: the data were changed, the data are probably wrong, or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

NoteKind = Literal["changed", "alarm", "info"]
"""``changed``: the stored data differ from the files; ``alarm``: something is probably wrong; ``info``: neither."""

NODULE_OUTSIDE_LUNGS = "nodule-beside-lungs"

NOTE_KINDS: dict[str, NoteKind] = {
    # The image or its geometry differs from the files.
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
    # About the files of a scan; the data are as the files say.
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
    # About the lungs; the mask may still be right.
    "airway-included": "info",
    "cropped": "info",
    "dense-lung": "info",
    "given-lungs": "info",
    "lungs-doubtful": "info",
    "lungs-fallback": "info",
    # About the annotations.
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
    # About a search for scans.
    "ignored-archives": "info",
    "no-ct-images": "info",
    "not-luna16": "info",
    "own-output": "info",
    "same-file": "info",
    "same-scan": "info",
    "same-series": "info",
    "table-beside": "info",
    "unused-table": "info",
    # About a data set or a table of detections.
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
"""Codes that are not alarms but deserve a look: the data may be right, or something may be missing."""


def kind_of(code: str) -> NoteKind:
    """Look up the kind of a note.

    Parameters
    ----------
    code : str

    Returns
    -------
    NoteKind
        ``changed`` for a code that this version does not know: too much attention is better than too little.
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
        Without duplicates, in their order.
    """
    codes = dict.fromkeys(note.partition(":")[0] for note in notes)
    return [code for code in codes if kind_of(code) == kind]


def finished_status(notes: Iterable[str]) -> Literal["done", "repaired"]:
    """Choose the status of a stored scan.

    Parameters
    ----------
    notes : iterable of str
        As in `codes_of`.

    Returns
    -------
    str
        ``repaired`` if a note is of the kind ``changed``, else ``done``.
    """
    return "repaired" if codes_of(notes, "changed") else "done"
