"""Tell volumes at the same positions apart by the times of their slices, where no value of an attribute does."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from statistics import median

from hilum.io.dicom.records import SliceHeader, heights_of

_Timed = list[tuple[float, SliceHeader]]

_COMPLETE = 0.8  # a round has at least this share of all positions, or it is no volume

_FEWEST_WAITING = 3  # images of one position, as of a bolus that is waited for


def split_by_time(members: list[SliceHeader]) -> tuple[str, list[list[SliceHeader]]]:
    """Split slices that repeat positions by TriggerTime, AcquisitionTime or ContentTime.

    Parameters
    ----------
    members : list of SliceHeader
        The headers of the slices.

    Returns
    -------
    name : str
        The attribute.
    volumes : list of list of SliceHeader
        In the order of time, each with every position once at most; or the scan, and the images of one position beside
        it. Empty if the times do not tell.
    """
    for field, name, read in (
        ("trigger_time", "TriggerTime", _number_of),
        ("acquisition_time", "AcquisitionTime", seconds_of),
        ("content_time", "ContentTime", seconds_of),
    ):
        timed = sorted(((read(getattr(h, field)), h) for h in members), key=lambda pair: pair[0])
        if not any(math.isnan(time) for time, _ in timed):
            ways: tuple[Callable[[_Timed], list[list[SliceHeader]]], ...] = (_rounds, _rounds_of_couch, _scan_and_wait)
            for way in ways:
                if found := way(timed):
                    return name, found
    return "", []


def _number_of(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def seconds_of(text: str) -> float:
    """Seconds of a day that a DICOM time or date with time states (``HHMMSS.FFFFFF``); nan if it is neither."""
    digits, _, fraction = text.partition(".")
    digits = digits[8:14] if len(digits) >= 14 else digits
    fraction = fraction[:6].partition("+")[0].partition("-")[0]
    if not (digits.isascii() and digits.isdigit() and len(digits) in {2, 4, 6} and (fraction or "0").isdigit()):
        return math.nan
    hours, minutes, seconds = (int(digits[k : k + 2] or 0) for k in (0, 2, 4))
    return 3600.0 * hours + 60 * minutes + seconds + float(f"0.{fraction or 0}")


def _mostly_repeated(timed: _Timed) -> int:
    """How many images a position has at most; 0 if most positions have one."""
    counts = Counter(h.place for _, h in timed)
    return max(counts.values()) if 2 * sum(n > 1 for n in counts.values()) >= len(counts) else 0


def _rounds(timed: _Timed) -> list[list[SliceHeader]]:
    """Rounds that follow one another; the next one starts where a position comes back."""
    most, places = _mostly_repeated(timed), {h.place for _, h in timed}
    rounds: list[_Timed] = [[]]
    seen: set[tuple[float, ...]] = set()
    for time, header in timed:
        if header.place in seen:
            rounds.append([])
            seen = set()
        seen.add(header.place)
        rounds[-1].append((time, header))
    if not most or len(rounds) != most or max(map(len, rounds)) < _COMPLETE * len(places):
        return []
    between = min(after[0][0] - before[-1][0] for before, after in pairwise(rounds))
    within = max((b - a for one in rounds for (a, _), (b, _) in pairwise(one)), default=0.0)
    complete = all(len(one) == len(places) for one in rounds)  # an incomplete round could take slices of its neighbor
    return [[h for _, h in one] for one in rounds] if between > (0 if complete else within) else []


def _rounds_of_couch(timed: _Timed) -> list[list[SliceHeader]]:
    """Rounds at each position of the couch, which then moves on: the k-th images of all positions are a volume.

    Neighboring positions that are scanned together have their k-th images at nearly the same time.
    """
    most, heights = _mostly_repeated(timed), heights_of([h for _, h in timed])
    if not most or not heights:
        return []
    columns: defaultdict[tuple[float, ...], _Timed] = defaultdict(list)
    for time, header in timed:
        columns[header.place].append((time, header))
    height = {h.place: z for (_, h), z in zip(timed, heights, strict=True)}
    ordered = [columns[place] for place in sorted(columns, key=lambda place: height[place])]
    if any(b - a <= 0 for column in ordered for (a, _), (b, _) in pairwise(column)):
        return []
    together = {k for k, pair in enumerate(pairwise(ordered)) if _overlap(*pair)}
    if not all(_in_step(ordered[k], ordered[k + 1]) for k in together):
        return []
    for k, column in enumerate(ordered):  # nothing tells which images an incomplete position lacks
        if len(column) < most and not {k - 1, k} & together:
            return []
    return [[column[k][1] for column in ordered if k < len(column)] for k in range(most)]


def _overlap(one: _Timed, other: _Timed) -> bool:
    return one[0][0] <= other[-1][0] and other[0][0] <= one[-1][0]


def _in_step(one: _Timed, other: _Timed) -> bool:
    apart = min((b - a for column in (one, other) for (a, _), (b, _) in pairwise(column)), default=math.inf)
    return all(abs(a - b) < apart / 2 for (a, _), (b, _) in zip(one, other, strict=False))


def _scan_and_wait(timed: _Timed) -> list[list[SliceHeader]]:
    """A scan, and the images of one table position that were taken before or after it."""
    counts = Counter(h.place for _, h in timed)
    waiting = [place for place, n in counts.items() if n > 1]
    heights = heights_of([h for _, h in timed])
    if len(waiting) != 1 or counts[waiting[0]] < _FEWEST_WAITING or len(counts) < 4 or not heights:
        return []
    rows = sorted(zip(heights, timed, strict=True), key=lambda row: row[0])
    scan = [row for row in rows if row[1][1].place != waiting[0]]
    images = [row for row in rows if row[1][1].place == waiting[0]]
    step = median(b[0] - a[0] for a, b in pairwise(scan))
    has_hole = max(b[0] - a[0] for a, b in pairwise(scan)) >= 1.5 * step
    near = sorted(scan, key=lambda row: abs(row[0] - images[0][0]))[:2]
    if has_hole or abs(near[0][0] - images[0][0]) < 1.5 * step:  # one of the images can be of the scan
        time = sum(row[1][0] for row in near) / 2
        images.sort(key=lambda row: abs(row[1][0] - time))
        if abs(images[0][1][0] - time) < abs(images[1][1][0] - time) / 2:
            scan.append(images.pop(0))
        elif has_hole:
            return []
    return [[h for _, (_, h) in scan], [h for _, (_, h) in images]]
