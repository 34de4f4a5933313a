"""From slice headers to a verdict: which slices make a volume, where it lies, and what is odd about it.

Pure logic on `Header` records (`hilum.io.dicom.records`); no file is opened here. The steps, in order:

1. `sort_out` sets aside what is no CT slice: localizers, secondary captures, reports, other modalities.
2. `group` forms stacks: one per series, orientation and, where one acquisition covers another, acquisition.
3. `judge` (in `hilum.io.dicom.stack`) orders each stack along its normal, and lists its `Finding` records.
4. `choose` picks the stack a reader is after: by UID, or the largest that looks like a chest.
"""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from hilum.errors import InputError, SeriesError, UnsupportedError, name_some, one_line
from hilum.io.dicom.records import Finding, Header, Sorted, Stack, normal_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import PurePath

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SCREEN_TYPES = frozenset({"SCREEN SAVE", "DOSE_INFO", "DOSE INFO"})
_MODALITIES = frozenset((
    "AR", "AU", "BI", "BMD", "CFM", "CR", "DG", "DMS", "DOC", "DX", "ECG", "EEG", "ES", "FID", "GM", "HC", "HD", "IO",
    "IVOCT", "IVUS", "KER", "KO", "LS", "M3D", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPV", "OSS", "OT",
    "PA", "PLAN", "PR", "PT", "PX", "REG", "RESP", "RF", "RG", "RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT",
    "RWV", "SC", "SEG", "SM", "SMR", "SR", "STAIN", "TG", "US", "VA", "XA", "XC",
))  # fmt: skip
NEARLY = 0.8
"""An acquisition of this share of the height of all is a scan by itself: what is beyond it is noted as left out."""

_SAME_DIRECTION = 2e-3
"""Largest difference of direction cosines within a stack: 0.1 degrees, far above the rounding of decimal text."""


def _foreign_kind(header: Header) -> str:
    """What a frame is, if not a CT slice; empty for a CT slice."""
    types = {t.upper() for t in header.image_type}
    if not header.has_pixels and (not header.modality or not header.series_uid or not header.position):
        return "other modality" if header.modality not in {"", "CT"} else "damaged file"
    if header.modality != "CT":
        return "other modality"
    if "LOCALIZER" in types or "SCOUT" in types:
        return "localizer"
    if header.samples != 1:
        return "color image"
    placed = header.position and header.orientation and header.slope is not None
    if types & _SCREEN_TYPES or (header.sop_class.startswith(_SECONDARY_CAPTURE) and not placed):
        return "secondary capture"
    return ""


def sort_out(headers: Iterable[Header]) -> Sorted:
    """Set aside what is no CT slice.

    Parameters
    ----------
    headers : iterable of Header

    Returns
    -------
    Sorted
        CT slices, and one finding per kind of what is ignored.
    """
    everything = list(headers)
    complete = {(h.sop_uid, h.position) for h in everything if h.whole and h.sop_uid}
    known = {uid for uid, _ in complete}
    slices: list[Header] = []
    aside: defaultdict[str, list[Header]] = defaultdict(list)
    for header in everything:
        if header.has_pixels:
            copied = not header.whole and (header.sop_uid, header.position) in complete
        else:  # its position may be cut off
            copied = header.sop_uid in known
        kind = _foreign_kind(header)
        kind = "incomplete copy" if copied and kind in {"", "damaged file"} else kind
        (aside[kind] if kind else slices).append(header)
    found = []
    for kind, members in sorted(aside.items()):
        files = {h.path: h.shown for h in sorted(members, key=lambda h: h.path)}
        code = "ignored-" + kind.replace(" ", "-")
        text = f"{len(files)} files ignored, not CT slices ({kind}): {name_some(files.values())}"
        found.append(Finding(code, text, "ignored", tuple(files)))
    modalities = {h.modality for h in aside["other modality"]}
    return Sorted(tuple(slices), tuple(found), tuple(sorted(m if _is_code(m) else "unknown" for m in modalities)))


def _is_code(modality: str) -> bool:
    """Whether a modality may be shown: what is no defined term (PS3.3 C.7.3.1.1.1) can be any text, a name too."""
    return modality in _MODALITIES


def group(slices: Iterable[Header]) -> list[list[Header]]:
    """Form stacks: by series, by orientation, and by acquisition where acquisitions overlap.

    Parameters
    ----------
    slices : iterable of Header
        CT slices, as `sort_out` returns them.

    Returns
    -------
    list of list of Header
        Not ordered; `judge` does that. Slices without an orientation stay with the largest group of their
        series, so that none is lost in silence.
    """
    series: defaultdict[str, list[Header]] = defaultdict(list)
    for header in slices:
        series[header.series_uid].append(header)
    stacks = []
    for _, members in sorted(series.items()):
        for part in _split_orientations(members):
            stacks.extend(_split_acquisitions(part))
    return stacks


def _split_orientations(members: list[Header]) -> list[list[Header]]:
    parts: list[list[Header]] = []
    unknown = []
    for header in members:
        if len(header.orientation) != 6 or not all(map(math.isfinite, header.orientation)):
            unknown.append(header)
            continue
        for part in parts:
            apart = zip(part[0].orientation, header.orientation, strict=True)
            same = part[0].orientation == header.orientation  # as nearly everywhere, and sooner told
            if same or max(abs(a - b) for a, b in apart) <= _SAME_DIRECTION:
                part.append(header)
                break
        else:
            parts.append([header])
    parts.sort(key=len, reverse=True)
    if not parts:
        return [unknown]
    parts[0].extend(unknown)
    return parts


def _split_acquisitions(members: list[Header]) -> list[list[Header]]:
    """Part acquisitions only where one of them covers the others (a scan repeated in time).

    They are told by AcquisitionNumber or, where every place is there several times, by their times.
    Acquisitions that continue one another are one stack. Of those that share places in part, one that is nearly
    as long as all of them together is a scan by itself; otherwise they stay together too, and `judge` refuses
    them where their pixels differ, since either one alone would be half a chest.
    """
    places = {_place(h) for h in members}
    acquisitions: defaultdict[int | None, list[Header]] = defaultdict(list)
    for header in members:
        acquisitions[header.acquisition_number].append(header)
    parts = sorted(acquisitions.values(), key=lambda p: (-len(p), p[0].acquisition_number or 0))
    if len(parts) > 1 and all(len({_place(h) for h in part}) == len(part) for part in parts):
        repeated = len(parts[0]) == len(places) < len(members)
        if repeated or (len(places) == len(members) and _fills(parts[0], members)):
            return parts
        if len(places) < len(members) and _nearly_covers(parts[0], members):
            return parts
    if len(places) < len(members):
        for times in ([h.acquisition_time for h in members], [h.content_time for h in members]):
            rounds = _rounds(members, times, len(places))
            if rounds:
                return rounds
    return [members]


def _place(header: Header) -> tuple[float, ...]:
    return tuple(round(v, 2) for v in header.position)


def _nearly_covers(part: list[Header], members: list[Header]) -> bool:
    """Whether some slices are a stack without gaps by themselves, almost as high as all of them."""
    heights = _heights(members)
    own = sorted(heights[h] for h in part if h in heights)
    steps = [b - a for a, b in pairwise(own)]
    if len(steps) < 2 or not max(steps) < 1.5 * median(steps):
        return False
    return own[-1] - own[0] >= NEARLY * (max(heights.values()) - min(heights.values()))


def _heights(members: list[Header]) -> dict[Header, float]:
    """Where each slice lies along the normal; empty where that is not known of all."""
    if any(len(h.position) != 3 or len(h.orientation) != 6 for h in members):
        return {}
    normal = normal_of(members[0].orientation)
    return {h: sum(p * n for p, n in zip(h.position, normal, strict=True)) for h in members}


def _fills(part: list[Header], members: list[Header]) -> bool:
    """Whether some slices are a stack without gaps by themselves, and the others lie within it, at other places."""
    height = _heights(members)
    own = sorted(height[h] for h in part if h in height)
    steps = [b - a for a, b in pairwise(own)]
    if len(steps) < 2 or not max(steps) < 1.5 * median(steps):
        return False
    step = 0.75 * median(steps)  # a slice further on continues the stack
    return own[0] - step < min(height.values()) and max(height.values()) < own[-1] + step


def _rounds(members: list[Header], times: list[str], size: int) -> list[list[Header]]:
    """Part slices into rounds, one after the other in time, each with every place once; empty where that fails."""
    ordered = sorted(zip(times, members, strict=True), key=lambda pair: pair[0])
    if not ordered[0][0] or len(ordered) % size:
        return []
    rounds = [ordered[k : k + size] for k in range(0, len(ordered), size)]
    apart = all(before[-1][0] < after[0][0] for before, after in pairwise(rounds))
    whole = all(len({_place(h) for _, h in one}) == size for one in rounds)
    return [[h for _, h in one] for one in rounds] if apart and whole else []


def choose(
    stacks: Sequence[Stack], *, series: str = "", where: PurePath | None = None
) -> tuple[Stack, tuple[Finding, ...]]:
    """Pick the stack to read.

    With `series` the largest stack of that UID; otherwise the largest chest-like stack (axial, at least
    `CHEST_EXTENT_MM` high), or the largest of all where none is. A refused stack is never passed over in
    favor of a smaller one: what is wrong with it has to be said.

    Parameters
    ----------
    stacks : sequence of Stack
    series : str
        A Series Instance UID, exact; empty for no choice.
    where : path, optional
        What an error names.

    Returns
    -------
    stack : Stack
    findings : tuple of Finding
        What the choice left out.

    Raises
    ------
    SeriesError
        If `series` is not there, or there is no stack at all.
    """
    wanted = one_line(series, limit=1000)
    found = len({s.series_uid for s in stacks})
    pool = [s for s in stacks if not wanted or s.series_uid == wanted]
    if not pool:
        what = f"none of the {found} CT series here has that Series Instance UID" if wanted else "no CT series here"
        raise SeriesError(what, where=where, do="`hilum info` lists the series", code="no-such-series")
    best = max(pool, key=lambda s: (s.chest_like, len(s.slices), s.slices[0].rows * s.slices[0].columns, s.series_uid))
    notes = []
    others = {s.series_uid for s in stacks} - {best.series_uid}
    if others and not wanted:
        text = f"{found} CT series here: took the one of {len(best.slices)} slices, left out {len(others)}"
        notes.append(Finding("chose-series", text, "ignored"))
    parts = [s for s in stacks if s.series_uid == best.series_uid and s is not best]
    if parts:
        count = sum(len(s.slices) for s in parts)
        files = tuple(h.path for s in parts for h in s.slices)
        text = f"the series mixes orientations or acquisitions: took {len(best.slices)} slices, ignored {count} others"
        notes.append(Finding("split-series", text, "ignored", files))
    return best, tuple(notes)


def refuse(sorted_out: Sorted) -> InputError:
    """Say why there is nothing to read, when no CT slice is left."""
    if sorted_out.modalities:
        kinds = ", ".join(sorted_out.modalities[:4])
        return UnsupportedError(f"only images of modality {kinds}; Hounsfield units need CT", code="not-ct")
    if sorted_out.findings:
        return SeriesError("no CT slices: " + sorted_out.findings[0].text, code="no-ct-slices")
    return SeriesError("no CT slices", do="name the folder that holds the series", code="no-ct-slices")
