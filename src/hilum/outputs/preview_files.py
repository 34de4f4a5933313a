"""``preview.png`` and ``preview.json`` of a finished scan: small pictures, and a histogram."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING

import msgspec

from hilum.errors import FormatError
from hilum.io.files import read_small
from hilum.io.png import png_bytes
from hilum.ops.preview import PALETTE
from hilum.outputs.records import PanelRecord, PreviewRecord

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.ops.preview import Preview
    from hilum.outputs.records import ScanRecord

PICTURE, FACTS = "preview.png", "preview.json"

HU_FROM, HU_TO, HU_STEP = -1104, 1536, 16
"""The histogram's range and steps: from air, and what a cubic spline overshoots beside it, to dense bone."""

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

LARGEST = 1 << 20
"""Bytes of a file beyond which it is none of ours."""


def write_preview(preview: Preview, folder: Path) -> None:
    """Write a preview beside the scan's other files.

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
        panels=[PanelRecord(**asdict(panel)) for panel in preview.panels],
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
    """Read a finished scan's preview, and hold it against its checksums.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord
        Its ``scan.json``.

    Returns
    -------
    tuple of PreviewRecord and bytes, or None
        What ``preview.json`` says, and ``preview.png``; None where the scan was made without.

    Raises
    ------
    FormatError
        If a file is missing, or not what was written.
    """
    if PICTURE not in record.files or FACTS not in record.files:
        return None
    picture, facts = (_read_checked(folder / name, record) for name in (PICTURE, FACTS))
    try:
        return msgspec.json.decode(facts, type=PreviewRecord), picture
    except msgspec.DecodeError as problem:
        raise FormatError(f"{FACTS} is no preview: {problem}", where=folder / FACTS) from None


def _read_checked(path: Path, record: ScanRecord) -> bytes:
    told = record.files[path.name]
    try:
        data = read_small(path, limit=LARGEST)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "what", None) or problem
        raise FormatError(f"{path.name} cannot be read: {reason}", where=path, do="run the scan again") from None
    if len(data) != told.bytes:
        raise FormatError(f"{path.name} is not of the size that scan.json tells", where=path, do="run the scan again")
    if hashlib.sha256(data).hexdigest() != told.sha256:
        raise FormatError(f"{path.name} is not what was written", where=path, do="run the scan again")
    return data
