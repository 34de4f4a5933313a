"""What `hilum plot` takes and leaves: a scan, finished or not, and a file that appears when it is whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

import hilum
from hilum.cli.status import ALL_WELL
from hilum.console import say, warn
from hilum.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hilum.scan import Scan

PICTURES = (".png", ".svg", ".pdf")
"""How a picture's name may end."""


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What every picture takes.

    Parameters
    ----------
    annotations
        A LUNA16 annotations.csv, or a reading of LIDC-IDRI in .xml.
    series
        Series Instance UID, where the folder holds several.
    series_uid
        Series Instance UID, where the file does not know its own.
    dpi
        Dots per inch of a .png; the figure's own without it.
    """

    annotations: Path | None = None
    series: str = ""
    series_uid: str = ""
    dpi: int | None = None


def check_picture(out: Path) -> None:
    """Refuse a picture that cannot be drawn before any work is done for it."""
    if out.suffix.lower() not in PICTURES:
        raise UnsupportedError(f"a picture ends in {', '.join(PICTURES)}", where=out, do="give such a name")
    need("matplotlib", "matplotlib")


def save_picture(figure: Figure, out: Path, *, dpi: int | None = None) -> None:
    """Write a figure, which appears under its name only when it is whole."""
    from hilum.io.atomic import atomic_path

    if dpi is not None and not 10 <= dpi <= 1200:
        raise InputError(f"dpi is {dpi}, expected 10 to 1200", code="option")
    with atomic_path(out) as temporary:
        dots: int | Literal["figure"] = "figure" if dpi is None else dpi
        if out.suffix.lower() == ".png":
            figure.savefig(
                temporary, dpi=dots, pil_kwargs={"compress_level": 1}
            )  # packing well takes longer than drawing
        else:
            _save_vectors(figure, temporary, dots)


def _save_vectors(figure: Figure, path: Path, dots: int | Literal["figure"]) -> None:
    """Write lines and letters without a date and without random names: the same picture has the same bytes."""
    import matplotlib as mpl

    when = "Date" if path.suffix.lower() == ".svg" else "CreationDate"
    with mpl.rc_context({"svg.hashsalt": "hilum"}):
        figure.savefig(path, dpi=dots, metadata={when: None})


def need(module: str, package: str) -> None:
    """Refuse where a library of the extra is missing."""
    if find_spec(module) is None:
        do = "pip install 'hilum[plots]'"
        raise InputError(f"a picture needs {package}, which is not installed", do=do, code="option")


def save(figure: Figure, out: Path, options: Options) -> int:
    """Write a figure, say so, and give the exit status."""
    save_picture(figure, out, dpi=options.dpi)
    say(f"{out}: {out.stat().st_size / 1e6:.2f} MB")
    return ALL_WELL


def load(source: Path, options: Options) -> Scan:
    """Read a scan, finished or not, in HU."""
    from hilum.io.scan_files import annotate
    from hilum.outputs.finished import check_files, read_record
    from hilum.outputs.store import HU, read_finished

    folder = finished_folder(source)
    if folder is None:
        scan = hilum.read(source, series=options.series, annotations=options.annotations, series_uid=options.series_uid)
        for note in scan.notes:
            warn(str(note))
        return scan
    record = read_record(folder)
    if record is None:
        raise InputError("scan.json is none of this version", where=folder, do="run the scan again")
    if record.unit != HU:
        what = f"this scan is stored in the {record.unit}, and pictures are drawn of HU"
        raise InputError(what, where=folder, do="give the scan that it was made from", code="not-in-hu")
    check_files(folder, record)
    scan = read_finished(folder, record)
    return scan if options.annotations is None else annotate(scan, options.annotations)


def finished_folder(source: Path) -> Path | None:
    """The folder of a finished scan: the one given, or the only one of a run's output."""
    from hilum.outputs.finished import finished_scans

    if (source / "scan.json").is_file():
        return source
    if not ((source / "scans").is_dir() and (source / "recipe.toml").is_file()):
        return None
    found = [path for path, _ in finished_scans(source)]
    if len(found) != 1:
        do = f"give one of them: {found[0]}" if found else "look at its ledger.jsonl"
        raise InputError(f"{len(found)} finished scans here, expected one", where=source, do=do, code="option")
    return found[0]


def with_lungs(scan: Scan) -> Scan:
    """The scan with its lungs, found where it has none."""
    if scan.lungs is not None:
        return scan
    mask = hilum.segment_lungs(scan.ct)
    if not mask.array.any():
        warn("lungs: no lung was found")
    return replace(scan, lungs=mask)


def index_of(slice_number: int | None) -> int | None:
    """The index of a slice that was counted from 1."""
    if slice_number is not None and slice_number < 1:
        raise InputError(f"slice {slice_number}, but they are counted from 1", code="option")
    return None if slice_number is None else slice_number - 1


def rescale_of(source: Path, scan: Scan) -> tuple[float, float] | None:
    """Slope and intercept that all slices of a DICOM series share; None for other files, and where they differ."""
    if not scan.slice_uids:
        return None
    from hilum.io.dicom.reader import index_dicom

    uids = set(scan.slice_uids)
    pairs = {(h.slope, h.intercept) for s in index_dicom(source) for h in s.slices if h.sop_uid in uids and not h.lut}
    slope, intercept = pairs.pop() if len(pairs) == 1 else (None, None)
    if slope is None or intercept is None:
        warn("rescale: slices differ in slope and intercept, or have a table; the curve is an example")
        return None
    return slope, intercept
