"""Decide which slices belong to one series, and which of them form a volume.

Works on `hilum.io.dicom.records.SliceHeader` records alone; opens no file. The steps, in order:

1. Slices of one series UID stay together, but never across patients, studies or frames of reference. Without a UID,
   SeriesNumber, kernel and description also tell series apart.
2. Series of one slice each that stack up are joined: an anonymizer gave each slice a UID of its own.
3. A series is split by orientation, and by `hilum.io.dicom.repeats.split_volumes` into volumes.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from hilum.io.dicom.records import Finding, SliceHeader, heights_of
from hilum.io.dicom.repeats import split_volumes
from hilum.io.names import made_up_name

_IDENTITY = {"patient": "patient", "study_uid": "study", "frame_uid": "frame of reference"}
"""Nothing says that slices which differ in one of these belong together (PS3.3 C.7.4.1)."""

_WITHOUT_UID = {"series_number": "SeriesNumber", "kernel": "ConvolutionKernel", "description": "SeriesDescription"}

FEWEST_JOINED = 3  # series of one slice each

ON_GRID = 0.1  # of the slice spacing


class Group(NamedTuple):
    """Slices that may form one volume; `hilum.io.dicom.records.Stack` explains the fields.

    Parameters
    ----------
    slices : list of SliceHeader
        Not ordered.
    series_uid, series_part, told_by, value : str
        As in `hilum.io.dicom.records.Stack`.
    findings : tuple of Finding
        What was joined, or why the slices cannot be a volume.
    """

    slices: list[SliceHeader]
    series_uid: str = ""
    series_part: str = ""
    told_by: str = ""
    value: str = ""
    findings: tuple[Finding, ...] = ()


def group_slices(slices: Iterable[SliceHeader]) -> list[Group]:
    """Form the groups that may be volumes.

    Parameters
    ----------
    slices : iterable of SliceHeader
        CT slices, as `hilum.io.dicom.frames.select_slices` returns them.

    Returns
    -------
    list of Group
        Slices without an orientation stay with the largest group of their series, so that none is dropped silently.
    """
    groups = []
    for series in group_series(slices):
        for orientation in _split_orientations(series.slices):
            told = "ImageOrientationPatient" if len(orientation) < len(series.slices) else ""
            for part in split_volumes(orientation):
                told_by = ", ".join(filter(None, (series.told_by, told, part.told_by)))
                groups.append(series._replace(slices=part.slices, told_by=told_by, value=part.value))
    return groups


def group_series(slices: Iterable[SliceHeader]) -> list[Group]:
    """Form series: by UID, patient, study and frame of reference.

    Returns
    -------
    list of Group
        Series in which every slice has a UID of its own are joined.
    """
    by_uid: defaultdict[str, list[SliceHeader]] = defaultdict(list)
    for header in slices:
        by_uid[header.series_uid].append(header)
    series = [part for uid, members in sorted(by_uid.items()) for part in _split_identities(uid, members)]
    return _join_single_slices(series) if len(series) >= FEWEST_JOINED else series


def _split_identities(uid: str, members: list[SliceHeader]) -> list[Group]:
    fields = _IDENTITY if uid else {**_IDENTITY, **_WITHOUT_UID}
    known = {f: {getattr(h, f) for h in members} - {"", None} for f in fields}
    told = ", ".join(name for f, name in fields.items() if len(known[f]) > 1)
    if not told:
        return [Group(members, uid)]
    only = {f: next(iter(values), "") for f, values in known.items() if len(values) < 2}  # also where it is absent
    parts: defaultdict[tuple[Hashable, ...], list[SliceHeader]] = defaultdict(list)
    for header in members:
        parts[tuple(only.get(f, getattr(header, f)) for f in fields)].append(header)
    if len(parts) == len(members) >= FEWEST_JOINED and uid:
        text = (
            f"each of the {len(members)} slices has its own {told}: nothing says that their positions belong together"
        )
        return [Group(members, uid, findings=(Finding("no-common-frame", text, "refused"),))]
    # A name made from the patient could be guessed: where the patient alone differs, a slice names the series.
    counts = Counter(key[1:] for key in parts)
    named = []
    for key, part in parts.items():
        slice_uid = min(h.sop_uid for h in part) if counts[key[1:]] > 1 else ""
        named.append(Group(part, uid, made_up_name(repr((*key[1:], slice_uid))), told))
    return sorted(named, key=_order_key)


def _order_key(group: Group) -> tuple[int, int, str, str]:
    """Sort series of one UID, or of none, as they were made."""
    numbers = ((h.series_number or 0, h.acquisition_number or 0, h.acquisition_time) for h in group.slices)
    return *min(numbers), group.series_part


def _join_single_slices(series: list[Group]) -> list[Group]:
    """Join series of one slice each that form one stack: same study, frame of reference, SeriesNumber, and so on."""
    singles: defaultdict[tuple[Hashable, ...], list[Group]] = defaultdict(list)
    for one in series:
        if len(one.slices) == 1 and one.slices[0].frames == 1:
            h = one.slices[0]
            same = (h.patient, h.study_uid, h.frame_uid, h.series_number, h.kernel, h.rows, h.columns)
            near = tuple(round(v, 2) for v in (*h.orientation, *h.pixel_spacing) if math.isfinite(v))
            singles[*same, *near].append(one)
    joined = []
    for members in singles.values():
        slices = [one.slices[0] for one in members]
        if len(members) >= FEWEST_JOINED and _stack_up(slices):
            text = f"{len(slices)} series of one slice each are joined: their patient, study, frame of reference, "
            text += "SeriesNumber and orientation are the same, and no two slices have the same position"
            first = min(members, key=lambda one: one.series_uid)
            joined.append(first._replace(slices=slices, findings=(Finding("joined-series", text, "noted"),)))
            gone = {id(one) for one in members}
            series = [one for one in series if id(one) not in gone]
    return [*_refuse_single_slices(series), *joined]


def _refuse_single_slices(series: list[Group]) -> list[Group]:
    """Say why series of one slice each are not joined."""
    singles = {id(one): one.slices[0] for one in series if len(one.slices) == 1 and one.slices[0].frames == 1}
    if len(singles) < FEWEST_JOINED:
        return series
    differ = [name for field, name in _IDENTITY.items() if len({getattr(h, field) for h in singles.values()}) > 1]
    why = f"they differ in {', '.join(differ)}" if differ else "they do not stack up regularly"
    text = f"a single slice is not a volume: each of {len(singles)} series here has one slice, and {why}"
    refusal = Finding("single-slice", text, "refused")
    return [one._replace(findings=(refusal,)) if id(one) in singles else one for one in series]


def _stack_up(slices: Sequence[SliceHeader]) -> bool:
    """Whether slices lie on one regular line of positions; some may be missing."""
    heights = sorted(heights_of(slices))
    steps = [b - a for a, b in pairwise(heights)]
    if not steps or min(steps) <= 0:
        return False
    step = median(steps)
    return all(abs(s / step - max(round(s / step), 1)) <= ON_GRID for s in steps)


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
