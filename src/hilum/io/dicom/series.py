"""Decide from slice headers which slices form a stack, and which stack to read.

Works on `hilum.io.dicom.records.SliceHeader` records alone; opens no file. The steps, in order:

1. `select_slices` drops what is not a CT slice: localizers, secondary captures, reports, other modalities.
2. `group_slices` forms stacks: one per series and orientation, and one per acquisition if one covers another.
3. `hilum.io.dicom.stack.judge` orders each stack along its normal and lists its `Finding` records.
4. `choose_stack` picks the stack to read: by UID, or the largest that looks like a chest.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import PurePath
from statistics import median

from hilum.errors import InputError, SeriesError, UnsupportedError, name_some, one_line
from hilum.io.dicom.records import Finding, FrameSelection, SliceHeader, Stack, normal_of

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SCREEN_TYPES = frozenset({"SCREEN SAVE", "DOSE_INFO", "DOSE INFO"})
_MODALITIES = frozenset((
    "AR", "AU", "BI", "BMD", "CFM", "CR", "DG", "DMS", "DOC", "DX", "ECG", "EEG", "ES", "FID", "GM", "HC", "HD", "IO",
    "IVOCT", "IVUS", "KER", "KO", "LS", "M3D", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPV", "OSS", "OT",
    "PA", "PLAN", "PR", "PT", "PX", "REG", "RESP", "RF", "RG", "RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT",
    "RWV", "SC", "SEG", "SM", "SMR", "SR", "STAIN", "TG", "US", "VA", "XA", "XC",
))  # fmt: skip
"""Defined terms (PS3.3 C.7.3.1.1.1). Any other modality can be free text, even a name, and is not shown."""

ALMOST_ALL = 0.8
"""An acquisition of at least this share of the height of all is a scan of its own; the rest is noted as left out."""


def _kind_of_frame(header: SliceHeader) -> str:
    """What a frame is if it is not a CT slice; empty for a CT slice."""
    types = {t.upper() for t in header.image_type}
    if not header.has_pixels and (not header.modality or not header.series_uid or not header.position):
        return "other modality" if header.modality not in {"", "CT"} else "damaged file"
    if header.modality != "CT":
        return "other modality"
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


def group_slices(slices: Iterable[SliceHeader]) -> list[list[SliceHeader]]:
    """Form stacks: by series, by orientation, and by acquisition if acquisitions overlap.

    Parameters
    ----------
    slices : iterable of SliceHeader
        CT slices, as `select_slices` returns them.

    Returns
    -------
    list of list of SliceHeader
        Not ordered. Slices without an orientation stay with the largest group of their series, so that none is dropped
        silently.
    """
    series: defaultdict[str, list[SliceHeader]] = defaultdict(list)
    for header in slices:
        series[header.series_uid].append(header)
    stacks = []
    for _, members in sorted(series.items()):
        for part in _split_orientations(members):
            stacks.extend(_split_acquisitions(part))
    return stacks


def _split_orientations(members: list[SliceHeader]) -> list[list[SliceHeader]]:
    parts: list[list[SliceHeader]] = []
    unknown = []
    for header in members:
        if len(header.orientation) != 6 or not all(map(math.isfinite, header.orientation)):
            unknown.append(header)
            continue
        for part in parts:
            cosines = zip(part[0].orientation, header.orientation, strict=True)
            same = part[0].orientation == header.orientation  # the usual case, and a quick test
            # 0.1 degrees are far above the rounding of decimal text.
            if same or max(abs(a - b) for a, b in cosines) <= 2e-3:
                part.append(header)
                break
        else:
            parts.append([header])
    parts.sort(key=len, reverse=True)
    if not parts:
        return [unknown]
    parts[0].extend(unknown)
    return parts


def _split_acquisitions(members: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Split acquisitions only if one of them covers the others (a scan repeated in time).

    Acquisitions differ by AcquisitionNumber or, if there are several slices at every position, by their times.
    Acquisitions that continue one another form one stack. If acquisitions share some positions, one that is almost as
    long as all of them together is a scan of its own. Otherwise they stay together: either one alone would be half a
    chest, and `judge` refuses them if their pixels differ.
    """
    positions = {_rounded_position(h) for h in members}
    acquisitions: defaultdict[int | None, list[SliceHeader]] = defaultdict(list)
    for header in members:
        acquisitions[header.acquisition_number].append(header)
    parts = sorted(acquisitions.values(), key=lambda p: (-len(p), p[0].acquisition_number or 0))
    if len(parts) > 1 and all(len({_rounded_position(h) for h in part}) == len(part) for part in parts):
        if len(parts[0]) == len(positions) < len(members):
            return parts
        heights = _heights(members)
        own = sorted(heights[h] for h in parts[0] if h in heights)
        steps = [b - a for a, b in pairwise(own)]
        if len(steps) >= 2 and max(steps) < 1.5 * median(steps):  # the first part has no gaps
            low, high, reach = min(heights.values()), max(heights.values()), 0.75 * median(steps)
            encloses_all = own[0] - reach < low and high < own[-1] + reach
            covers_almost_all = own[-1] - own[0] >= ALMOST_ALL * (high - low)
            is_own_scan = encloses_all if len(positions) == len(members) else covers_almost_all
            if is_own_scan:
                return parts
    if len(positions) < len(members):
        for times in ([h.acquisition_time for h in members], [h.content_time for h in members]):
            if repetitions := _split_repetitions(members, times, len(positions)):
                return repetitions
    return [members]


def _rounded_position(header: SliceHeader) -> tuple[float, ...]:
    return tuple(round(v, 2) for v in header.position)


def _heights(members: list[SliceHeader]) -> dict[SliceHeader, float]:
    """Position of each slice along the normal, mm; empty if it is unknown for any of them."""
    if any(len(h.position) != 3 or len(h.orientation) != 6 for h in members):
        return {}
    normal = normal_of(members[0].orientation)
    return {h: h.height_along(normal) for h in members}


def _split_repetitions(members: list[SliceHeader], times: list[str], size: int) -> list[list[SliceHeader]]:
    """Split slices into repetitions in time, each with every position once; empty if that is not possible."""
    ordered = sorted(zip(times, members, strict=True), key=lambda pair: pair[0])
    if not ordered[0][0] or len(ordered) % size:
        return []
    repetitions = [ordered[k : k + size] for k in range(0, len(ordered), size)]
    separate = all(before[-1][0] < after[0][0] for before, after in pairwise(repetitions))
    complete = all(len({_rounded_position(h) for _, h in one}) == size for one in repetitions)
    return [[h for _, h in one] for one in repetitions] if separate and complete else []


def choose_stack(
    stacks: Sequence[Stack], *, series: str = "", where: PurePath | None = None
) -> tuple[Stack, tuple[Finding, ...]]:
    """Choose the stack to read.

    With `series` it is the largest stack of that UID. Otherwise it is the largest chest-like stack (axial, at least
    `CHEST_EXTENT_MM` high), or the largest of all if none is. A refused stack is never skipped for a smaller one: the
    user has to learn what is wrong with it.

    Parameters
    ----------
    stacks : sequence of Stack
    series : str
        A Series Instance UID; empty for the largest stack.
    where : path, optional
        For error messages.

    Returns
    -------
    stack : Stack
    findings : tuple of Finding
        What was left out.

    Raises
    ------
    SeriesError
        If `series` is not there, or there is no stack.
    """
    wanted = one_line(series, limit=1000)
    count = len({s.series_uid for s in stacks})
    if not (candidates := [s for s in stacks if not wanted or s.series_uid == wanted]):
        what = f"none of the {count} CT series here has that Series Instance UID" if wanted else "no CT series here"
        raise SeriesError(what, where=where, do="`hilum info` lists the series", code="no-such-series")
    best = max(
        candidates, key=lambda s: (s.chest_like, len(s.slices), s.slices[0].rows * s.slices[0].columns, s.series_uid)
    )
    findings = []
    others = {s.series_uid for s in stacks} - {best.series_uid}
    if others and not wanted:
        text = f"{count} CT series here: took the one of {len(best.slices)} slices, left out {len(others)}"
        findings.append(Finding("chose-series", text, "ignored"))
    if parts := [s for s in stacks if s.series_uid == best.series_uid and s is not best]:
        rest = [h for s in parts for h in s.slices]
        took = f"took {len(best.slices)} slices, ignored {len(rest)} others"
        text = f"the series mixes orientations or acquisitions: {took}"
        findings.append(Finding("split-series", text, "ignored", tuple(h.path for h in rest)))
    return best, tuple(findings)


def no_slices_error(selection: FrameSelection, where: PurePath | None = None) -> InputError:
    """Make the error for a selection without CT slices."""
    if selection.modalities:
        what = f"only images of modality {', '.join(selection.modalities[:4])}; Hounsfield units need CT"
        return UnsupportedError(what, where=where, code="not-ct")
    if selection.findings:
        return SeriesError(f"no CT slices: {selection.findings[0].text}", where=where, code="no-ct-slices")
    return SeriesError("no CT slices", where=where, do="name the folder that holds the series", code="no-ct-slices")
