"""Split the slices of a series and orientation into volumes.

A series can hold several volumes at the same positions: phases of the heart or of breathing, reconstructions with two
kernels, repeated scans. An attribute tells them apart if its values part the slices into volumes with each position
once. It is asked before the times are, and only where positions repeat or the slices lie on no regular line.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from hilum.io.dicom.records import SliceHeader, heights_of
from hilum.io.dicom.times import split_by_time
from hilum.io.names import safe_kernel

ALMOST_ALL = 0.8
"""A part of at least this share of the height of all is a scan of its own; the rest is noted as left out."""

FAR_STEPS, FAR_MM = 5.0, 20.0  # blocks of slices are far apart from this multiple of the slice spacing, and distance on

_ATTRIBUTES = {
    "temporal_position": "TemporalPositionIdentifier",
    "cardiac_phase": "NominalPercentageOfCardiacPhase",
    "respiratory_phase": "NominalPercentageOfRespiratoryPhase",
    "trigger_time": "TriggerTime",
    "kernel": "ConvolutionKernel",
    "image_type": "ImageType",
    "kvp": "KVP",
    "thickness": "SliceThickness",
    "pixel_spacing": "PixelSpacing",
    "acquisition_number": "AcquisitionNumber",
    "description": "SeriesDescription",
    "comments": "ImageComments",
}
"""What can tell volumes of one series apart, in the order in which it is asked."""

_TEXTS = ("description", "comments")
"""These are hashes: they are not shown, and have no order."""

_NEVER_MIXED = ("temporal_position", "cardiac_phase", "respiratory_phase")
"""Slices that differ in one of these form no common volume, also where they lie between each other regularly."""


class Part(NamedTuple):
    """Slices that may form a volume, the attribute that tells them from others, and its value if it may be shown."""

    slices: list[SliceHeader]
    told_by: str = ""
    value: str = ""


def split_volumes(members: list[SliceHeader]) -> list[Part]:
    """Split the slices of one series and orientation into volumes.

    Parameters
    ----------
    members : list of SliceHeader
        The headers of the slices.

    Returns
    -------
    list of Part
        The largest first; of equal ones the first in the order of the attribute. Slices that cannot be told apart stay
        together: `hilum.io.dicom.stack.judge` and the comparison of their pixels decide.
    """
    parts = [Part(members)]
    if _count_positions(members) > 1:
        parts = _split_by_attribute(members, tuple(_ATTRIBUTES)) or _split_repeats_by_time(members) or parts
    return [block for part in parts for block in _split_blocks(part)]


def _split_by_attribute(members: list[SliceHeader], fields: tuple[str, ...]) -> list[Part]:
    """Split by the first attribute that tells volumes apart; empty if none does."""
    for k, field in enumerate(fields):
        groups: defaultdict[Hashable, list[SliceHeader]] = defaultdict(list)
        for header in members:
            groups[getattr(header, field)].append(header)
        known = field in _TEXTS or groups.keys().isdisjoint(("", None, ()))  # an absent value tells nothing
        if not known or not 1 < len(groups) < len(members):
            continue
        rest = fields[k + 1 :]
        parts = []
        shown = {value: "" if field in _TEXTS else _shown_value(value) for value in groups}
        for value, group in sorted(groups.items(), key=lambda item: _order_key(shown[item[0]], item[1])):
            told = Part(group, _ATTRIBUTES[field], shown[value])
            finer = _split_repeats(group, rest) if _repeats(group) and _count_positions(group) > 1 else []
            parts += [_below(told, part) for part in finer] or [told]
        parts.sort(key=lambda part: -len(part.slices))
        if _tells_apart([part.slices for part in parts], members, field):
            return _join_waiting(parts, members)
    return []


def _join_waiting(parts: list[Part], members: list[SliceHeader]) -> list[Part]:
    """Join single images of a position that repeats, as of a bolus that is waited for: none is a volume."""
    images = Counter(h.place for h in members)
    waiting: dict[tuple[float, ...], Part] = {}
    joined = []
    for part in parts:
        place = part.slices[0].place
        if len(part.slices) > 1 or images[place] < 3:
            joined.append(part)
        elif place in waiting:
            waiting[place].slices.extend(part.slices)
        else:
            waiting[place] = part._replace(value="")
    return [*joined, *waiting.values()]


def _split_repeats(members: list[SliceHeader], fields: tuple[str, ...]) -> list[Part]:
    return _split_by_attribute(members, fields) or _split_repeats_by_time(members)


def _split_repeats_by_time(members: list[SliceHeader]) -> list[Part]:
    if not _repeats(members):
        return []
    files: defaultdict[str, list[SliceHeader]] = defaultdict(list)
    for header in members:
        files[header.path].append(header)
    by_file = [Part(frames, "file") for frames in files.values()]
    if min(map(len, files.values())) > 1 and _tells_apart([part.slices for part in by_file], members, "file"):
        return sorted(by_file, key=lambda part: (-len(part.slices), part.slices[0].instance_number or 0))
    name, rounds = split_by_time(members)
    return [Part(slices, name, str(k)) for k, slices in enumerate(rounds, start=1)]


def _below(outer: Part, inner: Part) -> Part:
    value = ", ".join(filter(None, (outer.value, inner.value)))
    return Part(inner.slices, f"{outer.told_by}, {inner.told_by}", value)


def _tells_apart(parts: Sequence[list[SliceHeader]], members: list[SliceHeader], field: str) -> bool:
    """Whether one of the parts is a volume by itself, and all are what an attribute can tell apart.

    Acquisitions that continue one another form one stack. If parts share some positions, one that is almost as long as
    all of them together is a scan of its own. Otherwise they stay together: either one alone would be half a chest, and
    `judge` refuses them if their pixels differ. Images of one position beside a scan, as of a bolus that is waited for,
    do not count for the height.
    """
    alone = [part for part in parts if not _repeats(part)]
    images = Counter(h.place for h in members)
    most = max(images.values())
    largest = max(alone, key=_count_positions, default=[])
    if len(largest) < 2 or (most > 1 and len(parts) > most + _single_positions(parts)):
        return False
    if most > 1 and len(largest) == _count_positions(members):
        return True
    if not heights_of(members):
        return False
    spread = [h for part in parts for h in part if images[h.place] == 1 or _count_positions(part) > 1]
    heights, own = sorted(heights_of(spread)), sorted(heights_of(largest))
    steps = [b - a for a, b in pairwise(own)]
    if len(steps) < 2 or max(steps) >= 1.5 * median(steps):  # it has gaps
        return False
    if most > 1:
        return own[-1] - own[0] >= ALMOST_ALL * (heights[-1] - heights[0])
    reach = 0.75 * median(steps)
    encloses_all = own[0] - reach < heights[0] and heights[-1] < own[-1] + reach
    return encloses_all and (field in _NEVER_MIXED or not _is_one_line(parts, members))


def _is_one_line(parts: Sequence[list[SliceHeader]], members: list[SliceHeader]) -> bool:
    """Whether slices at different positions are one regular line, and InstanceNumber does not say otherwise.

    If the numbers ascend within each part but not along all slices, the parts were scanned one after the other.
    """
    heights = sorted(heights_of(members))
    steps = [b - a for a, b in pairwise(heights)]
    is_regular = bool(steps) and max(steps) < 1.5 * median(steps) and min(steps) > 0.5 * median(steps)
    return is_regular and (_is_numbered(members) or not all(map(_is_numbered, parts)))


def _is_numbered(members: list[SliceHeader]) -> bool:
    """Whether InstanceNumber ascends or descends along the slices."""
    numbers = [h.instance_number for _, _, h in sorted((z, k, h) for k, (z, h) in enumerate(_with_heights(members)))]
    steps = [b - a for a, b in pairwise(n for n in numbers if n is not None)]
    return all(s > 0 for s in steps) or all(s < 0 for s in steps)


def _with_heights(members: list[SliceHeader]) -> list[tuple[float, SliceHeader]]:
    return list(zip(heights_of(members), members, strict=True))


def _split_blocks(part: Part) -> list[Part]:
    """Split a volume where slices lie far apart, and nothing says that slices between them are missing.

    What says it is InstanceNumber, which jumps where slices were lost, if both sides have one AcquisitionNumber.
    """
    if _repeats(part.slices) or len(heights_of(part.slices)) < 4:
        return [part]
    ordered = sorted(_with_heights(part.slices), key=lambda pair: pair[0])
    step = median(b - a for (a, _), (b, _) in pairwise(ordered))
    if step <= 0:
        return [part]
    starts = [0]
    for k, ((low, below), (high, above)) in enumerate(pairwise(ordered), start=1):
        missing = (high - low) / step - 1
        numbers = below.instance_number, above.instance_number
        jump = missing if numbers[0] is None or numbers[1] is None else abs(numbers[1] - numbers[0]) - 1
        other = below.acquisition_number != above.acquisition_number
        if high - low > max(FAR_STEPS * step, FAR_MM) and (other or jump < missing / 2):
            starts.append(k)
    blocks = [ordered[a:b] for a, b in pairwise([*starts, len(ordered)])]
    if len(blocks) < 2 or min(map(len, blocks)) < 2:
        return [part]
    named = [(f"{b[0][0]:.0f} to {b[-1][0]:.0f} mm", [h for _, h in b]) for b in blocks]
    found = [_below(part, Part(slices, "position (blocks far apart)", value)) for value, slices in named]
    return sorted((b._replace(told_by=b.told_by.removeprefix(", ")) for b in found), key=lambda b: -len(b.slices))


def _single_positions(parts: Sequence[list[SliceHeader]]) -> int:
    return sum(_count_positions(part) == 1 for part in parts)


def _count_positions(members: Sequence[SliceHeader]) -> int:
    return len({h.place for h in members})


def _repeats(members: Sequence[SliceHeader]) -> bool:
    return _count_positions(members) < len(members)


def _order_key(value: str, members: list[SliceHeader]) -> tuple[float, int, str]:
    """Sort parts by the number that tells them apart, or by their first InstanceNumber."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    first = min((h.instance_number for h in members if h.instance_number is not None), default=0)
    return (math.inf if math.isnan(number) else number, first, members[0].path)


def _shown_value(value: Hashable) -> str:
    """A value of an attribute as it may be shown: a number, a kernel, or the first word of ImageType; else empty."""
    if isinstance(value, tuple):
        value = value[0] if value else ""
    text = str(value)
    try:
        return f"{float(text):.6g}"
    except ValueError:
        return text if text in {"ORIGINAL", "DERIVED"} else safe_kernel(text)
