"""Corrected masks that the page sends: which masks can be corrected, and how a correction is saved beside the run."""

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError, InputError, OutputError
from hilum.io import atomic
from hilum.io.volumes.formats import FORMATS
from hilum.outputs import corrections, finished
from hilum.outputs.checksums import file_sha256
from hilum.outputs.corrections import Correction
from hilum.outputs.records import ScanRecord
from hilum.report.text import visible
from hilum.scan import LUNG_NAMES, Scan
from hilum.viewer import reviews
from hilum.volume import Mask

LOCK = ".corrections.lock"  # lock file between processes while the table is read and written; the empty file stays

MAX_BODY = 64 << 20  # bytes of a mask as runs of labels; the lungs of a scan of 1000 slices have a tenth of that
MAX_WHO = 100


@dataclass(frozen=True)
class EditableMask:
    """A mask that can be corrected.

    Parameters
    ----------
    name : str
        As the page calls its volume: ``lungs``, ``nodules``, ``label-0``.
    mask : str
        As the run calls it: ``lungs``, ``nodules``, ``labels/NAME``.
    title : str
        For people.
    labels : mapping of int to str
        Its labels and their names; a correction has no others.
    sha256 : str
        Names its content, see `hilum.outputs.corrections.mask_sha256`.
    """

    name: str
    mask: str
    title: str
    labels: Mapping[int, str]
    sha256: str


def editable_masks(scan: Scan, record: ScanRecord, label_maps: Mapping[str, int]) -> list[EditableMask]:
    """List the masks that a run stored of a scan; `label_maps` has the page's number of each label map."""
    found = []
    if scan.lungs is not None:
        highest = max((int(scan.lungs.array.max()), *scan.lungs.names))
        names = {value: LUNG_NAMES.get(value, str(value)) for value in range(1, highest + 1)}
        found.append(("lungs", "lungs", "lungs", names if highest > 1 else dict(scan.lungs.names)))
    if scan.nodule_mask is not None and record.nodules:
        labels = {one.label: f"nodule {one.label}" for one in record.nodules if one.label <= np.iinfo(np.uint8).max}
        found.append(("nodules", "nodules", "nodules", labels))
    for name, number in label_maps.items():
        if name not in record.label_maps:  # a mask that the user gave to look at
            continue
        labels = {value: label for label, value in record.label_maps[name].values.items()}
        found.append((f"label-{number}", f"{finished.LABELS}/{name}", name, labels))
    return [EditableMask(*one, corrections.mask_sha256(record, one[1])) for one in found]


def why_not(run: Path | None) -> str:
    """Why no mask can be corrected here, and what to do; empty if one can."""
    if run is None:
        return "A corrected mask is saved beside a run: make one with 'hilum run', then view its folder."
    if not os.access(run, os.W_OK):
        return "This run is read-only: ask its owner, or copy it to a folder of yours."
    return ""


def encode_labels(array: NDArray[np.uint8]) -> bytes:
    """Pack labels as the page does: little-endian words of 32 bits, a label (8 bits) over a number of voxels (24)."""
    flat = array.reshape(-1)
    starts = np.union1d(np.flatnonzero(flat[1:] != flat[:-1]) + 1, np.arange(0, flat.size, (1 << 24) - 1))
    lengths = np.diff(starts, append=flat.size)
    words = flat[starts].astype("<u4") << np.uint32(24) | lengths.astype("<u4")
    return bytes(words.tobytes())


def decode_labels(body: bytes, shape: tuple[int, int, int], labels: Mapping[int, str]) -> NDArray[np.uint8]:
    """Unpack the labels of a mask.

    Parameters
    ----------
    body : bytes
        From the page, as `encode_labels` packs them.
    shape : tuple of int
        Of the mask, (z, y, x).
    labels : mapping of int to str
        The labels that may occur.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)

    Raises
    ------
    FormatError
        If the runs do not have as many voxels as the mask, or there is another label.
    """
    if not body or len(body) % 4:
        raise FormatError("the corrected mask came cut short", do="save it again", code="shape")
    words = np.frombuffer(body, "<u4")
    lengths, values = words & 0xFFFFFF, (words >> 24).astype(np.uint8)
    count = int(lengths.sum(dtype=np.int64))
    if count != shape[0] * shape[1] * shape[2] or not lengths.all():
        what = f"the corrected mask has {count} voxels, and the scan {shape[0]} x {shape[1]} x {shape[2]}"
        raise FormatError(what, do="reload the page", code="shape")
    if others := sorted(set(np.unique(values).tolist()) - {0, *labels}):
        what = f"the corrected mask has the labels {others}, which the mask does not have"
        raise FormatError(what, do="reload the page", code="labels")
    return np.repeat(values, lengths).reshape(shape)


def save_correction(run: Path, folder: Path, record: ScanRecord, corrected: Mask, *, mask: str, who: str) -> Correction:
    """Save a corrected mask beside a run, and a line about it in ``corrections.csv``.

    Parameters
    ----------
    run : Path
        The run's folder.
    folder : Path
        The folder of the scan in it.
    record : ScanRecord
        The ``scan.json`` in it.
    corrected : Mask
        On the grid of the scan.
    mask : str
        ``lungs``, ``nodules`` or ``labels/NAME``.
    who : str
        Who corrected it.

    Returns
    -------
    Correction
        Its file is new: neither the original nor an earlier correction is touched.

    Raises
    ------
    InputError
        If the scan's files are not those of `record`, or the table of corrections is damaged.
    OutputError
        If the run cannot be written, or another viewer is saving for too long.
    """
    if refused := why_not(run):
        raise OutputError(refused)
    finished.check_files(folder, record, digest=False)
    what, do = "another viewer is saving a correction", "try again in a moment"
    from hilum.batch.lock import output_lock  # late: the package loads all that a run needs

    lock = output_lock(run, name=LOCK, wait_seconds=reviews.LOCK_TIMEOUT, what=what, do=do)
    with lock, reviews.saving:  # in this order, so that Ctrl-C can end a viewer that waits for the lock
        file = corrections.next_file(run, folder.name, mask)
        path = run / file
        _make_folder(run, path.parent)
        with atomic.atomic_path(path) as partial:
            writer = FORMATS[corrections.SUFFIX].write
            assert writer is not None  # noqa: S101 - for mypy
            writer(corrected, partial, series_uid="")
        saved = Correction(
            scan_id=folder.name,
            mask=mask,
            file=file,
            who=who,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            original_sha256=corrections.mask_sha256(record, mask),
            scan_sha256=finished.record_sha256(folder),
            sha256=file_sha256(path),
        )
        corrections.append_correction(run, saved)
    return saved


def _make_folder(run: Path, folder: Path) -> None:
    """Make the folder of a correction; refuse to follow a link out of the run."""
    with atomic.refusing_writes(folder):
        folder.mkdir(parents=True, exist_ok=True)
    while folder != run:
        if folder.is_symlink():
            raise OutputError("is a link, and hilum made none", where=folder, do="remove it", code="link")
        folder = folder.parent


def who_saves(name: str | None) -> str:
    """The name under which corrections are saved: the given one, or that of the login.

    Raises
    ------
    InputError
        If the given name is empty, or too long for a table.
    """
    if name is None:
        try:
            name = getpass.getuser()
        except (OSError, KeyError, ImportError):  # a container without this user
            name = "unknown"
    name = visible(name.strip())
    if not 0 < len(name) <= MAX_WHO:
        what = f"--who has {len(name)} characters, and a name has 1 to {MAX_WHO}"
        raise InputError(what, do="give --who NAME, or leave it out", code="option")
    return name
