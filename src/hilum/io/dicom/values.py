"""What the headers of a stack say about its values: whether there are pixels, and how they become Hounsfield units.

Works on `hilum.io.dicom.records.SliceHeader` records alone; opens no file.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hilum.errors import name_some
from hilum.io.dicom.luts import ModalityLut
from hilum.io.dicom.odd_values import NUMBERS, Problem
from hilum.io.dicom.records import Finding, SliceHeader, Stack
from hilum.io.read_options import ReadOptions

_LARGEST_MATRIX = 16384

_AIR = -900  # air is lower, HU

_HOUNSFIELD = frozenset({"", "HU", "H.U.", "HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS"})
_FOREIGN = frozenset((
    "%", "BQML", "ED", "EDW", "IOD", "IODINE", "MG/CC", "MG/CM3", "MG/ML", "MGML", "OD", "PCT", "PERCENT", "SUV", "Z",
    "Z_EFF", "ZEFF",
))  # fmt: skip
"""Rescale types of material maps and other modalities: units that are certainly not Hounsfield units."""

_NAMED = _FOREIGN | {"US", "UNSPECIFIED", "HU_MOD", "NORMALIZED"}  # of PS3.3 C.11.1.1.2, or seen; others may be names


def refuse_values(members: Sequence[SliceHeader]) -> Finding | None:
    """Check whether the values of a stack can be read as Hounsfield units.

    Parameters
    ----------
    members : sequence of SliceHeader
        The headers of the slices.

    Returns
    -------
    Finding or None
        Why they cannot be read; None if they can.
    """
    steps = _refuse_pixels, _refuse_frames, _refuse_malformed, _refuse_rescale
    return next(filter(None, (refuse(members) for refuse in steps)), None)


def _forbid(code: str, text: str, members: Sequence[SliceHeader]) -> Finding:
    return Finding(code, text, "refused", tuple(h.path for h in members))


def _refuse_pixels(members: Sequence[SliceHeader]) -> Finding | None:
    if odd := [h for h in members if any(o.problem == "bad-syntax" for o in h.odd)]:
        text = next(o.text for o in odd[0].odd if o.problem == "bad-syntax")
        return _forbid("bad-syntax", f"the transfer syntax of {len(odd)} slices is wrong: {text}", odd)
    if empty := [h for h in members if not h.has_pixels]:
        names = name_some(h.display_name for h in empty)
        return _forbid("no-pixels", f"{len(empty)} of {len(members)} slices have no pixel data: {names}", empty)
    if short := [h for h in members if not h.complete]:
        size = f"{short[0].pixel_bytes} of {short[0].frame_bytes * short[0].frames} bytes"
        names = name_some(h.display_name for h in short)
        return _forbid("truncated", f"pixel data end early in {len(short)} slices: {names}; {size}", short)
    return None


def _refuse_frames(members: Sequence[SliceHeader]) -> Finding | None:
    if odd := [h for h in members if h.rows < 1 or h.columns < 1 or max(h.rows, h.columns) > _LARGEST_MATRIX]:
        what = f"{odd[0].display_name} has a matrix of {odd[0].rows} x {odd[0].columns}"
        return _forbid("bad-matrix", f"{what}, expected 1 to {_LARGEST_MATRIX} rows and columns", odd)
    if frames := [h for h in members if h.frames > 1 and not h.position]:
        what = f"the {frames[0].frames} frames of {frames[0].display_name} have no position each"
        what += "; if you know their distance, give slice_spacing_mm (hilum convert --slice-spacing-mm)"
        return _forbid("unplaced-frames", what, frames)
    if bits := [h for h in members if not _has_readable_bits(h)]:
        h = bits[0]
        what = f"{h.display_name} stores {h.bits_stored} bits in {h.bits_allocated} with high bit {h.high_bit}"
        return _forbid("unsupported-bits", f"{what}, which hilum does not read", bits)
    return None


def _has_readable_bits(h: SliceHeader) -> bool:
    return h.bits_allocated in {8, 16, 32} and 1 <= h.bits_stored <= h.high_bit + 1 <= h.bits_allocated


def _refuse_malformed(members: Sequence[SliceHeader]) -> Finding | None:
    """Refuse an attribute that is there but cannot be read; thickness and step are not needed."""
    odd = [h for h in members if h.odd]
    for field in ("slope", "intercept", "pixel_spacing", "position", "orientation") if odd else ():
        attribute = NUMBERS[field].attribute
        if wrong := [(h, text) for h in odd if (text := _malformed_text(h, field, attribute))]:
            what = f"{attribute} is malformed in {len(wrong)} of {len(members)} slices: {wrong[0][1]}"
            return _forbid("malformed-value", what, [h for h, _ in wrong])
    return None


def _malformed_text(header: SliceHeader, field: str, attribute: str) -> str:
    """What a malformed attribute says, if nothing else gives its value; empty otherwise."""
    value = getattr(header, field)
    if value and not (isinstance(value, float) and math.isnan(value)):
        return ""
    texts = (o.text for o in header.odd if o.attribute == attribute and o.problem == "malformed-value")
    return next(texts, "")


def _refuse_rescale(members: Sequence[SliceHeader]) -> Finding | None:
    if absent := [h for h in members if h.slope is None or h.intercept is None]:
        what = f"{len(absent)} slices have no rescale slope or intercept: Hounsfield units are unknown"
        return _forbid("no-rescale", what, absent)
    values = np.array([(h.slope, h.intercept) for h in members], np.float64)
    wrong = ~np.isfinite(values).all(axis=1) | (values[:, 0] == 0) | (np.abs(values).max(axis=1) > 1e9)
    if wrong.any():
        k = int(np.argmax(wrong))
        what = f"{int(wrong.sum())} slices have an unusable rescale, such as slope {values[k, 0]:g}"
        what += f" and intercept {values[k, 1]:g}"
        return _forbid("bad-rescale", what, [h for h, w in zip(members, wrong, strict=True) if w])
    if foreign := [h for h in members if h.rescale_type in _FOREIGN]:
        what = f"RescaleType is {foreign[0].rescale_type}: the values are not Hounsfield units"
        return _forbid("not-hounsfield", what, foreign)
    return None


def note_values(members: Sequence[SliceHeader]) -> tuple[Finding, ...]:
    """Note what is odd about headers that are read anyway.

    Parameters
    ----------
    members : sequence of SliceHeader
        The headers of the slices.

    Returns
    -------
    tuple of Finding
        One for each attribute that is not written as the standard says, and one for an unknown unit.
    """
    odd: dict[tuple[Problem, str], list[tuple[SliceHeader, str]]] = {}
    for header in members:
        for value in header.odd:
            odd.setdefault((value.problem, value.attribute), []).append((header, value.text))
    findings = []
    for (problem, attribute), found in odd.items():
        files = tuple(dict.fromkeys(h.path for h, _ in found))
        unused = "; not used" if problem == "malformed-value" else ""
        findings.append(Finding(problem, f"{attribute} of {len(files)} files: {found[0][1]}{unused}", "noted", files))
    if unknown := [h for h in members if h.rescale_type not in _HOUNSFIELD and h.lut is None]:
        unit = unknown[0].rescale_type
        what = f"RescaleType is {unit if unit in _NAMED else 'an unknown text'}, not HU"
        text = f"{what}, in {len(unknown)} slices: the values are taken as Hounsfield units"
        findings.append(Finding("unspecified-unit", text, "noted", tuple(h.path for h in unknown)))
    return tuple(findings)


def lacks_air(slices: Sequence[SliceHeader]) -> bool:
    """Whether unsigned pixels cannot hold the values of air: the lowest possible one is tissue."""
    return all(not h.signed and h.lut is None and (h.slope or 0) > 0 and (h.intercept or 0) > _AIR for h in slices)


def with_sign(stack: Stack, *, signed: bool) -> Stack | None:
    """The same stack with signed or unsigned pixels.

    Parameters
    ----------
    stack : Stack
        The stack.
    signed : bool
        Whether its words are signed.

    Returns
    -------
    Stack or None
        None if that changes nothing, and if pixels are compressed or not all of one kind.
    """
    for h in stack.slices:
        if h.signed == signed or h.lut is not None or h.pixel_offset < 0:
            return None
    duplicates = tuple((k, _with_sign(h, signed)) for k, h in stack.duplicates)
    return replace(stack, slices=tuple(_with_sign(h, signed) for h in stack.slices), duplicates=duplicates)


def _with_sign(header: SliceHeader, signed: bool) -> SliceHeader:
    half = 1 << (header.bits_allocated - 1)
    changes: dict[str, Any] = {"signed": signed}
    for name in ("padding", "padding_limit", "smallest", "largest"):
        word = getattr(header, name)
        changes[name] = None if word is None else (word % (2 * half) ^ half) - half if signed else word % (2 * half)
    return replace(header, **changes)


def state_rescale(
    members: Sequence[SliceHeader], options: ReadOptions
) -> tuple[list[SliceHeader], tuple[Finding, ...]]:
    """Apply the rescale and the offset that the user states.

    Parameters
    ----------
    members : sequence of SliceHeader
        The headers of the slices.
    options : ReadOptions
        What the user states about the scan.

    Returns
    -------
    members : list of SliceHeader
        Unchanged if nothing is stated. A stated rescale replaces slope, intercept, Modality LUT and RescaleType.
    findings : tuple of Finding
        What was stated.
    """
    stated = options.rescale_note
    if not stated:
        return list(members), ()
    changed = []
    for header in members:
        changes: dict[str, Any] = {}
        if options.rescale is not None:
            slope, intercept = options.rescale
            changes = {"slope": slope, "intercept": intercept, "lut": None, "rescale_type": ""}
        offset, lut = options.hu_offset or 0.0, changes.get("lut", header.lut)
        if lut is not None:
            changes["lut"] = _shifted(lut, round(offset))
        elif (intercept_before := changes.get("intercept", header.intercept)) is not None:
            changes["intercept"] = intercept_before + offset
        changed.append(replace(header, **changes))
    return changed, (Finding("stated-rescale", stated, "noted"),)


def _shifted(lut: ModalityLut, offset: int) -> ModalityLut:
    table = np.frombuffer(lut.table, np.int32) + np.int32(offset)
    return lut._replace(table=table.tobytes())


def refuse_luts(with_lut: Sequence[SliceHeader]) -> Finding | None:
    """Check whether slices with a Modality LUT can be read.

    Parameters
    ----------
    with_lut : sequence of SliceHeader
        Each with a LUT.

    Returns
    -------
    Finding or None
        Why they cannot be read; None if they can.
    """
    luts = [(h, h.lut) for h in with_lut if h.lut is not None]
    both = tuple(h.path for h, _ in luts if h.slope is not None or h.intercept is not None)
    foreign = tuple(h.path for h, lut in luts if lut.kind != "HU")
    broken = tuple(h.path for h, lut in luts if not lut.table)
    rescaled = f"{len(both)} slices have a rescale slope or intercept beside their Modality LUT, which DICOM forbids"
    unknown = f"{len(foreign)} slices have a Modality LUT whose type is not HU: their units are unknown"
    contradictory = f"{len(broken)} slices have a Modality LUT whose descriptor and data contradict each other"
    findings = (
        Finding("lut-and-rescale", rescaled, "refused", both),
        Finding("not-hounsfield", unknown, "refused", foreign),
        Finding("bad-modality-lut", contradictory, "refused", broken),
    )
    return next((f for f in findings if f.files), None)
