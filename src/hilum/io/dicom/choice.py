"""Choose the volume to read among the stacks of a folder, and say what was left out."""

from collections.abc import Sequence
from pathlib import PurePath

from hilum.errors import SeriesError, one_line
from hilum.io.dicom.fields import digest_of
from hilum.io.dicom.records import Finding, Stack
from hilum.io.names import safe_kernel

_PHASES = ("temporal_position", "cardiac_phase", "respiratory_phase", "trigger_time")
"""What `phase` may name, besides the value that tells a stack apart, SeriesDescription and ImageComments."""

_PROJECTIONS = frozenset(("MIP", "MINIP", "MPR", "VRT", "AVERAGE", "PROJECTION IMAGE", "REFORMATTED", "CSA MPR"))

_NAMED = 3  # volumes that a message names; more are counted


def choose_stack(
    stacks: Sequence[Stack],
    *,
    series: str = "",
    phase: str = "",
    volume: int | None = None,
    where: PurePath | None = None,
) -> tuple[Stack, tuple[Finding, ...]]:
    """Choose the stack to read.

    Of the stacks that the options name it is the largest chest-like one (axial, at least `CHEST_EXTENT_MM` high), or
    the largest if none is. Original images come before derived ones (MIP, MPR), however many these are. Of equal
    volumes in one series the first is taken. A refused stack is never skipped for a smaller one: the user has to learn
    what is wrong with it.

    Parameters
    ----------
    stacks : sequence of Stack
        In the order in which `hilum info` lists them.
    series : str
        A Series Instance UID, the number of a stack in the list, or a kernel; empty for any.
    phase : str
        A value of the attribute that tells volumes of one series apart; empty for any.
    volume : int, optional
        Number of a stack in the list, from 1.
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
        If no stack fits the options, or there is none.
    """
    named = _named_by(stacks, one_line(series, limit=1000), where) if series else list(stacks)
    if phase:
        named = _of_phase(named, phase, where)
    if volume is not None:
        if volume > len(stacks) or not any(s is stacks[volume - 1] for s in named):
            what = f"there is no volume {volume} here" if volume > len(stacks) else f"volume {volume} is another one"
            raise SeriesError(what, where=where, do="`hilum info` numbers the volumes", code="no-such-series")
        return stacks[volume - 1], ()
    if not named:
        raise SeriesError("no CT series here", where=where, do="`hilum info` lists the series", code="no-such-series")
    best = max(named, key=_rank)
    findings = []
    if others := [s for s in named if series_of(s) != series_of(best)]:
        findings.append(_chose_series(best, others))
    if parts := [s for s in named if series_of(s) == series_of(best) and s is not best]:
        findings.append(_split_series(best, parts))
    return best, tuple(findings)


def _rank(stack: Stack) -> tuple[bool, bool, bool, int, int, str]:
    first = stack.slices[0]
    has_extent = len({h.place for h in stack.slices}) > 1 or not first.position
    size = first.rows * first.columns
    return has_extent, stack.chest_like, not is_derived(stack), len(stack.slices), size, stack.series_uid


def is_derived(stack: Stack) -> bool:
    """Whether images were computed from other images (PS3.3 C.7.6.1.1.2), such as a MIP or MPR."""
    types = [t.upper() for t in stack.slices[0].image_type]
    return types[:1] == ["DERIVED"] or not _PROJECTIONS.isdisjoint(types)


def series_of(stack: Stack) -> str:
    """What identifies the series of a stack."""
    return stack.series_uid or stack.series_part


def _kernel_of(stack: Stack) -> str:
    return " ".join(stack.slices[0].kernel.replace("\\", " ").split()).casefold()


def _named_by(stacks: Sequence[Stack], series: str, where: PurePath | None) -> list[Stack]:
    """The stacks of a series UID, the one of a number in the list, or those of a kernel."""
    found = [s for s in stacks if series in {s.series_uid, s.series_part}]
    if not found and series.isdecimal() and 0 < int(series) <= len(stacks):
        found = [stacks[int(series) - 1]]
    found = found or [s for s in stacks if _kernel_of(s) == " ".join(series.replace("\\", " ").split()).casefold()]
    if not found:
        count = len({series_of(s) for s in stacks})
        what = f"none of the {count} CT series here has that Series Instance UID, number or kernel"
        raise SeriesError(what, where=where, do="`hilum info` lists the series", code="no-such-series")
    return found


def _of_phase(stacks: Sequence[Stack], phase: str, where: PurePath | None) -> list[Stack]:
    wanted = {_number(phase), digest_of(phase.strip().encode("latin-1", "replace"))}
    found = [s for s in stacks if not wanted.isdisjoint(_phases_of(s))]
    if not found:
        known = sorted({s.value for s in stacks if s.value})
        what = "no volume here has that phase" + (f": there are {', '.join(known[:8])}" if known else "")
        raise SeriesError(what, where=where, do="`hilum info` lists the volumes", code="no-such-series")
    return found


def _phases_of(stack: Stack) -> set[str]:
    """The values of the phase of a stack: those of its attributes that are the same in all slices."""
    values = {_number(value) for value in (stack.value, *stack.value.split(", ")) if value}
    for field in (*_PHASES, "description", "comments"):
        several = {getattr(h, field) for h in stack.slices}
        if len(several) == 1 and (value := several.pop()):
            values.add(_number(value) if field in _PHASES else value)
    return values


def _number(text: str) -> str:
    """One spelling for each number, so that ``70``, ``70.0`` and ``70 %`` are the same."""
    try:
        return f"{float(text.strip().removesuffix('%')):g}"
    except ValueError:
        return text.strip().casefold()


def _describe(stack: Stack) -> str:
    kernel = safe_kernel(stack.slices[0].kernel)
    spacing = "" if stack.geometry is None else f" of {stack.geometry.spacing[0]:.4g} mm"
    derived = "derived" if is_derived(stack) else ""
    return " ".join(filter(None, (derived, kernel, f"{len(stack.slices)} slices{spacing}")))


def _describe_part(stack: Stack) -> str:
    size = f"{len(stack.slices)} slices"
    return f"{stack.value} ({size})" if stack.value else f"one of {size}"


def _list_some(described: Sequence[str]) -> str:
    more = f" and {len(described) - _NAMED} more" if len(described) > _NAMED else ""
    return "; ".join(described[:_NAMED]) + more


def _why(best: Stack, others: Sequence[Stack]) -> str:
    if not is_derived(best) and any(map(is_derived, others)):
        return "the original one"
    as_large = any(len(s.slices) == len(best.slices) for s in others)
    one = "the first of" if series_of(others[0]) == series_of(best) else "one of"
    return f"{one} the largest" if as_large else "the largest"


def _chose_series(best: Stack, others: Sequence[Stack]) -> Finding:
    count = 1 + len({series_of(s) for s in others})
    told = f", without a series UID and told apart by {best.told_by}" if not best.series_uid and best.told_by else ""
    text = f"{count} CT series here{told}: took {_why(best, others)} ({_describe(best)})"
    text += f", left out {len(others)} ({_list_some([_describe(s) for s in others])})"
    return Finding("chose-series", text + "; --series takes another", "ignored")


def _split_series(best: Stack, parts: Sequence[Stack]) -> Finding:
    told = next((s.told_by for s in (best, *parts) if s.told_by), "position")
    text = f"the series holds {1 + len(parts)} volumes, told apart by {told}: took {_why(best, parts)}, "
    text += f"{_describe_part(best)}; left out {_list_some([_describe_part(s) for s in parts])}"
    option = "--volume or --phase takes" if any(s.value for s in parts) else "--volume takes"
    files = tuple(h.path for s in parts for h in s.slices)
    return Finding("split-series", f"{text}; {option} another", "ignored", files)
