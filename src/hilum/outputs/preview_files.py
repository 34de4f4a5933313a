"""``preview.png`` and ``preview.json`` of a finished scan: small pictures, and a histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hilum.errors import FormatError, InputError
from hilum.io.files import read_small
from hilum.io.png import png_bytes
from hilum.ops.preview import PALETTE, Panel
from hilum.outputs.checksums import RERUN, check_file

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.ops.preview import Preview
    from hilum.outputs.records import ScanRecord

PICTURE, FACTS = "preview.png", "preview.json"

HU_FROM, HU_TO, HU_STEP = -1104, 1536, 16
"""Range and step of the histogram, in HU: from air, less the overshoot of a cubic spline, to dense bone."""

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

_MAX_BYTES = 1 << 20  # the largest file that is read


class PreviewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A scan's ``preview.json``: the panels of ``preview.png`` and a histogram of the voxels.

    ``counts`` has bins of ``hu_step`` HU from ``hu_from``; ``below`` and ``above`` count the voxels outside them. The
    ``percentiles`` are exact to one HU. ``cut`` is the HU range to which the recipe clipped the values before.
    """

    width: int
    height: int
    panels: list[Panel]
    hu_from: int
    hu_step: int
    counts: list[int]
    below: int
    above: int
    percentiles: dict[str, float]
    cut: tuple[float, float] | None = None


def write_preview(preview: Preview, folder: Path) -> None:
    """Write a preview into the scan's folder.

    Parameters
    ----------
    preview : Preview
    folder : Path
        The scan's folder.
    """
    counts = preview.histogram.counts
    first, last = HU_FROM + (1 << 15), HU_TO + (1 << 15)
    rows, columns = preview.pixels.shape
    record = PreviewRecord(
        width=columns,
        height=rows,
        panels=list(preview.panels),
        hu_from=HU_FROM,
        hu_step=HU_STEP,
        counts=counts[first:last].reshape(-1, HU_STEP).sum(axis=1).tolist(),
        below=int(counts[:first].sum()),
        above=int(counts[last:].sum()),
        percentiles={str(p): preview.histogram.percentile(p) for p in PERCENTILES},
        cut=preview.cut,
    )
    (folder / PICTURE).write_bytes(png_bytes(preview.pixels, PALETTE))
    (folder / FACTS).write_bytes(msgspec.json.encode(record) + b"\n")


def read_preview(folder: Path, record: ScanRecord) -> tuple[PreviewRecord, bytes] | None:
    """Read a finished scan's preview and compare it with its checksums, given its folder and its ``scan.json``.

    Returns
    -------
    tuple of PreviewRecord and bytes, or None
        The content of ``preview.json`` and of ``preview.png``; None for a scan without a preview.

    Raises
    ------
    FormatError
        If a file is missing or has changed.
    """
    if PICTURE not in record.files or FACTS not in record.files:
        return None
    picture, facts = (_read_checked(folder, name, record) for name in (PICTURE, FACTS))
    try:
        return msgspec.json.decode(facts, type=PreviewRecord), picture
    except msgspec.DecodeError as problem:
        raise FormatError(f"{FACTS} is not a preview: {problem}", where=folder / FACTS) from None


def _read_checked(folder: Path, name: str, record: ScanRecord) -> bytes:
    try:
        check_file(folder, name, record.files[name])
        return read_small(folder / name, limit=_MAX_BYTES)
    except InputError as problem:
        raise FormatError(f"{name} {problem.what}", where=folder / name, do=RERUN) from None
