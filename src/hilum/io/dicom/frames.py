"""Select the CT slices among the frames of a folder, by their headers."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePath

from hilum.errors import InputError, SeriesError, UnsupportedError, name_some
from hilum.io.dicom.records import Finding, FrameSelection, SliceHeader

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_IMAGE_CLASSES = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.[27](\..*)?")
"""CT Image, Enhanced CT, Legacy Converted Enhanced CT, Secondary Capture: an object of these has an image."""

_SCREEN_TYPES = frozenset({"SCREEN SAVE", "DOSE_INFO", "DOSE INFO"})
_MODALITIES = frozenset((
    "AR", "AU", "BI", "BMD", "CFM", "CR", "DG", "DMS", "DOC", "DX", "ECG", "EEG", "ES", "FID", "GM", "HC", "HD", "IO",
    "IVOCT", "IVUS", "KER", "KO", "LS", "M3D", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPV", "OSS", "OT",
    "PA", "PLAN", "PR", "PT", "PX", "REG", "RESP", "RF", "RG", "RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT",
    "RWV", "SC", "SEG", "SM", "SMR", "SR", "STAIN", "TG", "US", "VA", "XA", "XC",
))  # fmt: skip
"""Defined terms (PS3.3 C.7.3.1.1.1). Any other modality can be free text, even a name, and is not shown."""


def _kind_of_frame(header: SliceHeader) -> str:
    """What a frame is if it is not a CT slice; empty for a CT slice."""
    # Raw data, reports and Siemens CSA objects have no image by nature: they are not damaged, and no slice.
    is_other = header.sop_class and header.series_uid and not _IMAGE_CLASSES.fullmatch(header.sop_class)
    if is_other and header.modality in {"", "CT"} and not header.has_pixels and not header.rows:
        return "no image"
    if not header.has_pixels and (not header.modality or not header.series_uid or not header.position):
        return "other modality" if header.modality not in {"", "CT"} else "damaged file"
    return "other modality" if header.modality != "CT" else _kind_of_image(header)


def _kind_of_image(header: SliceHeader) -> str:
    types = {t.upper() for t in header.image_type}
    if "LOCALIZER" in types or "SCOUT" in types:
        return "localizer"
    if header.samples != 1:
        return "color image"
    has_geometry = header.position and header.orientation and header.slope is not None
    if types & _SCREEN_TYPES or (header.sop_class.startswith(_SECONDARY_CAPTURE) and not has_geometry):
        return "secondary capture"
    return ""


def select_slices(headers: Iterable[SliceHeader]) -> FrameSelection:
    """Select the CT slices.

    Returns
    -------
    FrameSelection
        The CT slices, and one finding for each kind of frame that is ignored.
    """
    frames = list(headers)
    complete = {(h.sop_uid, h.position) for h in frames if h.complete and h.sop_uid}
    complete_uids = {uid for uid, _ in complete}
    slices: list[SliceHeader] = []
    ignored: defaultdict[str, list[SliceHeader]] = defaultdict(list)
    for header in frames:
        if header.has_pixels:
            has_complete_copy = not header.complete and (header.sop_uid, header.position) in complete
        else:  # its position may be cut off
            has_complete_copy = header.sop_uid in complete_uids
        kind = _kind_of_frame(header)
        kind = "incomplete copy" if has_complete_copy and kind in {"", "damaged file"} else kind
        (ignored[kind] if kind else slices).append(header)
    findings = []
    for kind, members in sorted(ignored.items()):
        files = {h.path: h.display_name for h in sorted(members, key=lambda h: h.path)}
        code = "ignored-" + kind.replace(" ", "-")
        text = f"{len(files)} files ignored, not CT slices ({kind}): {name_some(files.values())}"
        findings.append(Finding(code, text, "ignored", tuple(files)))
    modalities = {h.modality if h.modality in _MODALITIES else "unknown" for h in ignored["other modality"]}
    return FrameSelection(tuple(slices), tuple(findings), tuple(sorted(modalities)))


def no_slices_error(selection: FrameSelection, where: PurePath | None = None) -> InputError:
    """Make the error for a selection without CT slices."""
    if selection.modalities:
        what = f"only images of modality {', '.join(selection.modalities[:4])}; Hounsfield units need CT"
        do = "give a CT series" + ("; if this is one, set Modality to CT" if "unknown" in selection.modalities else "")
        return UnsupportedError(what, where=where, do=do, code="not-ct")
    if selection.findings:
        what = f"no CT slices: {selection.findings[0].text}"
        return SeriesError(what, where=where, do="give the folder that holds the slices", code="no-ct-slices")
    return SeriesError("no CT slices", where=where, do="name the folder that holds the series", code="no-ct-slices")
