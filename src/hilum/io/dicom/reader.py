"""DICOM series to a scan in Hounsfield units.

`hilum.io.dicom.headers` reads the headers of each file. `hilum.io.dicom.frames`, `hilum.io.dicom.grouping` and
`hilum.io.dicom.stack` decide from the headers alone which slices form a volume, `hilum.io.dicom.choice` takes one, and
`hilum.io.dicom.voxels` reads its pixels.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hilum.errors import FormatError, GeometryError, InputError, SeriesError, UnsupportedError, one_line
from hilum.io.dicom import records, voxels
from hilum.io.dicom.choice import choose_stack
from hilum.io.dicom.frames import no_slices_error
from hilum.io.dicom.index import FolderIndex, index_folder
from hilum.io.dicom.values import lacks_air, with_sign
from hilum.io.names import made_up_name, safe_kernel
from hilum.io.read_options import ReadOptions
from hilum.io.unreadable import describe_other_files, looks_like_dicom, no_readable_slice
from hilum.ops.quality.plausibility import note_implausible_values
from hilum.scan import Label, Note, Scan
from hilum.volume import Volume

_THICKEST_MM = 100.0

_SEVERAL = 3

_LONGEST_UID = 64  # characters (PS3.5 section 9.1); a longer text is damage, and no message could hold it

_RESCALE = "if you know it, state the rescale (--rescale SLOPE,INTERCEPT)"

_NEXT = {
    **dict.fromkeys(("no-pixels", "truncated"), "get the series again, complete"),
    **dict.fromkeys(("no-rescale", "bad-rescale", "bad-modality-lut"), _RESCALE),
    "lut-and-rescale": "state which one is right (--rescale SLOPE,INTERCEPT), or remove the other",
    "not-hounsfield": "give the CT itself; if the unit is wrong, state --rescale SLOPE,INTERCEPT",
    "bad-syntax": "correct the transfer syntax, or export the series again without compression",
    "malformed-value": "correct the attribute, or export the series again",
    "no-pixel-spacing": "add PixelSpacing (row, column, in mm), or export the series again",
    "no-position": "add ImagePositionPatient to these slices, or get the series again",
    "no-orientation": "add ImageOrientationPatient, or export the series again",
    "bad-geometry": "correct the attribute, or export the series again",
    "one-position": "the positions are lost: export the series again",
    "single-slice": "get the whole series",
    "nonuniform-spacing": "get the series again, complete and not reformatted",
    "no-order": "number the slices by InstanceNumber, or export the series again with positions",
    "unplaced-frames": "if you know the spacing, give slice_spacing_mm (hilum convert --slice-spacing-mm)",
    "shifted-slices": "export the series again without reformatting",
    "conflicting-duplicates": "remove one of each pair",
    **dict.fromkeys(("mixed-matrix", "mixed-spacing"), "put the slices of each kind into a folder of their own"),
    **dict.fromkeys(("bad-matrix", "unsupported-bits"), "export the series again, as 16 bits"),
}
"""What to do about a refusal with this code, if nothing more is known."""

_ERRORS: dict[str, type[InputError]] = {
    "bad-geometry": GeometryError,
    **dict.fromkeys(
        ("bad-modality-lut", "bad-syntax", "lut-and-rescale", "malformed-value", "no-pixels", "truncated"), FormatError
    ),
    **dict.fromkeys(("gantry-tilt", "not-hounsfield", "unplaced-frames", "unsupported-bits"), UnsupportedError),
}
"""The error for a refusal with this code; any other code becomes a SeriesError."""


def read_dicom(path: Path, **options: Any) -> Scan:
    """Read one CT series.

    Parameters
    ----------
    path : Path
        A folder, searched with its subfolders (linked folders are followed, each once), or one multi-frame file.
    **options
        The fields of `hilum.io.read_options.ReadOptions`.

    Returns
    -------
    Scan
        int16 Hounsfield units; slices ascend along the normal (row direction x column direction). Padding is
        -1024 HU (`hilum.io.dicom.padding` defines it).

    Raises
    ------
    MissingInputError
        If there is no such path, or no file in it.
    FormatError
        If pixels are damaged, cut off or absent.
    GeometryError
        If a position, direction or spacing is invalid.
    UnsupportedError
        If the images are not CT, or of a kind that hilum does not read, such as a tilted gantry where `tilt` says so.
    SeriesError
        If the slices do not form one trustworthy volume: missing slices, two images of one position, different
        spacings or matrices, no positions, no rescale.
    InputError
        If an option is out of range, or a slice spacing is stated for slices that have positions.
    """
    chosen = ReadOptions(**options)
    index = index_folder(Path(path), chosen)
    if not index.stacks:
        raise _no_stack_error(path, index)
    stack, left_out = choose_stack(
        index.stacks, series=chosen.series, phase=chosen.phase, volume=chosen.volume, where=path
    )
    if stack.refusal is not None:
        raise _refusal_error(path, stack.refusal, stack, index)
    if chosen.slice_spacing_mm is not None and not any(f.code == "assumed-positions" for f in stack.findings):
        what = "slice_spacing_mm is given, but the slices have positions"
        raise InputError(what, where=path, do="leave it out", code="option")
    scan, stack = _read_scan(index.root, stack, chosen, path)
    findings = (*index.findings, *left_out, *stack.findings)
    uids = dict(zip(stack.planes, (h.sop_uid for h in stack.slices), strict=True))  # -1 is no plane
    return replace(
        scan,
        notes=(*(Note(f.code, f.text) for f in findings), *scan.notes),
        slice_uids=tuple(uids.get(k, "") for k in range(scan.ct.shape[0])),
        acquisition=_acquisition(stack.slices),
    )


def read_stack(root: Path, stack: records.Stack, **options: Any) -> Scan:
    """Read the pixels of one stack of `index_dicom`.

    Parameters
    ----------
    root : Path
        The folder that slice paths are relative to.
    stack : Stack
        The stack to read.
    **options
        As `read_dicom` takes them.

    Returns
    -------
    Scan
        Only with the notes on its pixels.

    Raises
    ------
    InputError
        As `read_dicom`, for faults of the pixels.
    """
    return _read_scan(root, stack, ReadOptions(**options), root)[0]


def _read_scan(root: Path, stack: records.Stack, options: ReadOptions, where: Path) -> tuple[Scan, records.Stack]:
    """The scan with the notes on its pixels, and the stack of the slices that were read."""
    stack, array, notes = voxels.read_voxels(root, stack, options)
    if stack.geometry is None:
        raise SeriesError("the slices are not on a regular grid", where=where, code="bad-geometry")
    stack, volume, notes = _mend_sign(root, stack, Volume(array, stack.geometry), notes, options)
    if any(f.code == "unspecified-unit" for f in stack.findings):
        for note in note_implausible_values(volume):
            what = f"RescaleType does not say Hounsfield units, and {note.text}"
            raise UnsupportedError(what, where=where, do=_RESCALE, code="not-hounsfield")
    # A stable name for a series without a UID. Folder names are not part of it: they can be patients' names.
    uid = stack.series_uid if len(stack.series_uid) <= _LONGEST_UID else ""
    uid = uid or made_up_name(repr([(h.sop_uid, h.position) for h in stack.slices]))
    return Scan(uid, volume, notes=tuple(notes)), stack


def _mend_sign(
    root: Path, stack: records.Stack, volume: Volume, notes: list[Note], options: ReadOptions
) -> tuple[records.Stack, Volume, list[Note]]:
    """Read pixels with the other sign if only that makes Hounsfield units.

    Unsigned pixels become signed if they make values beyond int16 or cannot be air; signed ones become unsigned if they
    make values below air. The others must make a plausible chest without a value beyond int16, below air or beyond the
    stored bits. A single value beyond int16 is no proof: it may mark saturation.
    """
    unchanged, codes = (stack, volume, notes), {note.code for note in notes}
    clipped, low = "clipped-hu" in codes, "low-hu" in codes
    if not (clipped or low or lacks_air(stack.slices)):
        return unchanged
    signed = not stack.slices[0].signed
    other = with_sign(stack, signed=signed) if signed or low else None
    if other is None or not (clipped or low or note_implausible_values(volume)):
        return unchanged
    other, array, other_notes = voxels.read_voxels(root, other, options)
    if other.geometry is None or any(note.code in {"clipped-hu", "low-hu", "beyond-bits"} for note in other_notes):
        return unchanged
    changed = Volume(array, other.geometry)
    saturated = volume.array == np.iinfo(np.int16).max
    if note_implausible_values(changed) or (clipped and np.unique(array[saturated]).size < _SEVERAL):
        return unchanged
    what = "unsigned, but the pixels hold negative values: they are read as signed"
    if not signed:
        what = "signed, but the highest values would be far below air: they are read as unsigned"
    return other, changed, [Note("signed-pixels", f"PixelRepresentation says {what}"), *other_notes]


def index_dicom(path: Path, **options: Any) -> list[records.Stack]:
    """Judge every CT stack of a folder by its headers, without reading pixels.

    Parameters
    ----------
    path : Path
        A folder, searched with its subfolders, or one file.
    **options
        As `read_dicom` takes them.

    Returns
    -------
    list of Stack
        Largest first, at least one. `Stack.refusal` is the reason why a stack cannot be read, if any.

    Raises
    ------
    MissingInputError
        If there is no such path, or no file in it.
    FormatError, SeriesError
        If there is no CT slice.
    UnsupportedError
        If the images are of another modality, or the path is an archive, or neither a file nor a folder.
    """
    index = index_folder(Path(path), ReadOptions(**options))
    if not index.stacks:
        raise _no_stack_error(path, index)
    return [replace(s, findings=(*s.findings, *index.findings)) for s in index.stacks]


def read_patient_ids(path: Path) -> dict[str, str]:
    """Read the PatientID of each CT series of a folder, to group scans by it. Never write or show one.

    Parameters
    ----------
    path : Path
        As in `index_dicom`, which raises the same errors.

    Returns
    -------
    dict of str to str
        By series UID; empty for a series without one.
    """
    import pydicom

    root = path if path.is_dir() else path.parent
    found = {}
    for stack in index_dicom(path):
        header = pydicom.dcmread(
            root / stack.slices[0].path, stop_before_pixels=True, specific_tags=["PatientID"], force=True
        )
        found[stack.series_uid] = str(header.get("PatientID") or "").strip()
    return found


def _no_stack_error(path: Path, index: FolderIndex) -> InputError:
    if not index.selection.findings:
        files = index.files
        if (others := describe_other_files(files.not_dicom, files.display_name)) and path.is_dir():
            what, do = others
            return SeriesError(f"no DICOM here: {what}", where=path, do=do, code="no-dicom")
        if files.unreadable or (path.is_dir() and any(map(looks_like_dicom, files.not_dicom))):
            return no_readable_slice(index.root, "", junk=files.not_dicom, damaged=(), locked=files.unreadable)
        kind = FormatError if path.is_file() else SeriesError
        return kind("no DICOM images here", where=path, do="give the folder of a CT series", code="no-dicom")
    return no_slices_error(index.selection, path)


def _refusal_error(path: Path, refusal: records.Finding, stack: records.Stack, index: FolderIndex) -> InputError:
    # The files of these may be the missing slices.
    suspects = [f for f in index.findings if f.code in {"ignored-damaged-file", "unreadable-files", "dangling-links"}]
    do = _NEXT.get(refusal.code, "")
    if suspects and refusal.code in {"missing-slices", "nonuniform-spacing", "two-spacings"}:
        do = one_line(suspects[0].text, limit=90)
    elif refusal.code == "malformed-value" and refusal.text.startswith("Rescale"):
        do = _RESCALE
    elif refusal.code in {"no-position", "one-position"} and len({h.position for h in stack.slices}) == 1:
        do = "if you know the spacing, give slice_spacing_mm (hilum convert --slice-spacing-mm)"
    elif refusal.code == "single-slice" and path.is_file():
        do = "give the folder that holds the series"
    return _ERRORS.get(refusal.code, SeriesError)(refusal.text, where=path, do=do, code=refusal.code)


def _acquisition(slices: Sequence[records.SliceHeader]) -> dict[str, Label]:
    """Kernel and slice thickness, each if all slices agree and the value is plausible."""
    labels: dict[str, Label] = {}
    kernels = {safe_kernel(header.kernel) for header in slices}
    if len(kernels) == 1 and (kernel := kernels.pop()):
        labels["kernel"] = kernel
    depths = {header.thickness for header in slices}
    if len(depths) == 1 and (depth := depths.pop()) is not None and 0 < depth <= _THICKEST_MM:
        labels["slice_thickness_mm"] = depth
    return labels
