"""The kind of every note: the data were changed, the data are probably wrong, or neither."""

from collections.abc import Iterable
from typing import Literal

NoteKind = Literal["changed", "alarm", "info"]
"""``changed``: the stored data differ from the files; ``alarm``: something is probably wrong; ``info``: neither."""

NODULE_OUTSIDE_LUNGS = "nodule-beside-lungs"

_CHANGED = (
    "assumed-positions", "clipped-hu", "element-size", "gantry-tilt", "identity-form", "missing-slices", "nan-to-air",
    "no-direction", "no-origin", "rounded-positions", "saturated", "signed-pixels", "small-shear",
    "two-spacings", "uneven-spacing", "units",
)  # fmt: skip
"""The image or its geometry differs from the files."""

_ALARMS = (
    "beyond-bits", "border-in-lung", "border-in-tissue", "contours-left-out", "contours-misplaced", "default-grid",
    "dense-lung-missing", "empty-region", "gas-included",
    "heart-included", "implausible-size", "leak", "lungs-not-found", "missed-lung", NODULE_OUTSIDE_LUNGS,
    "mixed-axes", "nodule-outside", "not-hu", "not-lung", "one-lung", "organ-included", "ragged", "sides-mixed",
    "small-lung", "wrong-axes",
)  # fmt: skip
"""The scan, its nodules or its lung mask are probably wrong."""

_INFO = (
    # About the files of a scan; the data are as the files say.
    "chose-series", "dangling-links", "decimal-comma", "duplicate-slices", "forms-differ", "ignored-color-image",
    "ignored-damaged-file", "ignored-files", "ignored-incomplete-copy", "ignored-links", "ignored-localizer",
    "ignored-no-image", "ignored-other-modality", "ignored-secondary-capture", "joined-series",
    "location-tag-disagrees", "low-hu", "malformed-value", "minmax-tags-disagree", "modality-lut", "odd-modality",
    "odd-syntax", "padding-to-air", "qform-unusable", "spacing-tag-disagrees", "split-series",
    "stated-geometry", "stated-rescale", "trailing-bytes", "unspecified-unit", "unreadable-files", "unreadable-folders",
    # About a scan that was resampled to the grid of another one.
    "beyond-scan",
    # About the lungs; the mask may still be right.
    "airway-included", "cropped", "dense-lung", "given-lungs", "lungs-corrected", "lungs-doubtful", "lungs-fallback",
    # About the annotations.
    "ambiguous-ids", "assumed-pixels", "bad-scores", "crowded-nodule", "duplicate-label", "duplicate-nodules",
    "few-readers", "long-boxes", "marks-not-drawn", "matched-by-name", "no-nodules", "no-reading", "no-rows",
    "no-sizes", "nodules-corrected", "outlines-beyond", "read-table", "several-readings",
    "slice-position-differs", "unknown-slices", "useless-outlines",
    # About label maps, and the regions that become some.
    "contour-gaps", "contours-between-slices", "contours-crowded", "contours-cut", "contours-interpolated",
    "contours-overlap", "contours-repeated", "contours-too-small", "fractional-seg", "points-only",
    "region-by-frame", "region-files", "region-images", "regions-elsewhere", "scans-without-region", "shifted-seg",
    "empty-labels", "label-lost", "label-outside", "labels-corrected", "labels-on-voxels", "labels-paired",
    "labels-without-scan", "region-labels", "scans-without-labels",
    # About a search for scans.
    "archive-members", "ignored-archives", "no-ct-images", "not-luna16", "own-output", "same-file", "same-scan",
    "same-series", "table-beside", "unused-table",
    # About a data set or a table of detections.
    "assumed-years", "case-count", "chose-table", "duplicate-detections", "duplicate-series", "folds-replaced",
    "detections-outside", "marks-beyond-limit", "no-annotations", "no-dataset-json", "no-detections", "no-labels",
    "one-channel", "patient-in-folds", "readings-without-scan", "rows-without-scan", "samples-without-nodule",
    "scans-assumed", "scans-without-rows", "several-series", "unknown-patient", "unknown-series", "xray-readings",
    # About a score of masks.
    "masks-paired", "prediction-outside", "prediction-without-truth", "truth-without-prediction",
)  # fmt: skip
"""The stored data are as the files say."""

NOTE_KINDS: dict[str, NoteKind] = {
    **dict.fromkeys(_CHANGED, "changed"), **dict.fromkeys(_ALARMS, "alarm"), **dict.fromkeys(_INFO, "info"),
}  # fmt: skip
"""Every code that a note can have, and its kind."""

REVIEW_CODES = frozenset({
    "airway-included", "assumed-pixels", "contour-gaps", "contours-between-slices", "contours-interpolated",
    "contours-overlap", "cropped", "crowded-nodule", "dense-lung", "empty-labels", "ignored-damaged-file",
    "label-lost", "label-outside", "low-hu", "lungs-doubtful", "lungs-fallback", "missing-slices", "outlines-beyond",
    "region-by-frame", "saturated", "several-readings", "slice-position-differs", "split-series", "two-spacings",
    "unknown-slices", "unreadable-files", "unreadable-folders",
})  # fmt: skip
"""Codes that are not alarms but deserve a look: the data may be right, or something may be missing."""


def kind_of(code: str) -> NoteKind:
    """Look up the kind of a note.

    Parameters
    ----------
    code : str
        The code of the note.

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
        The kind to pick.

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
