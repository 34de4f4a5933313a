"""What `hilum plot` reads and writes: a scan, finished or not, and a picture file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import Parameter

import hilum
from hilum.cli.options import MaxGap, Tilt, ValueOptions
from hilum.console import print_note, print_notes, print_result
from hilum.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hilum.runs.run_scan import RunScan
    from hilum.scan import Scan

PICTURES = (".png", ".svg", ".pdf")  # suffixes of picture files


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options(ValueOptions):
    """Options of every picture.

    Parameters
    ----------
    annotations
        A LUNA16 annotations.csv, or a LIDC-IDRI reading in .xml.
    series
        Series Instance UID, if the folder holds several series.
    series_uid
        Series Instance UID of the scan, if its file does not state it.
    dpi
        Dots per inch of a .png; the default of the figure if not given.
    width_mm
        Width of the picture: 85 for a column of a paper, 175 for its page, at 300 dots per inch.
    """

    annotations: Path | None = None
    series: str = ""
    series_uid: str = ""
    dpi: int | None = None
    width_mm: float | None = None
    max_gap_mm: MaxGap = None
    tilt: Tilt = True

    def as_read(self) -> dict[str, Any]:
        """The options that state how a scan is read, as `hilum.read` takes them."""
        values = {"rescale": self.rescale, "hu_offset": self.hu_offset, "max_gap_mm": self.max_gap_mm}
        return {**values, "tilt": "correct" if self.tilt else "refuse"}


def check_picture(out: Path) -> None:
    """Check that a picture of this name can be drawn, before any work is done for it."""
    if out.suffix.lower() not in PICTURES:
        raise UnsupportedError(f"a picture ends in {', '.join(PICTURES)}", where=out, do="change the file name")
    require("matplotlib", "matplotlib")
    _import_matplotlib()


def _import_matplotlib() -> None:
    """Import matplotlib without the list of properties in the docstrings of its artists, which no command shows.

    To write them takes matplotlib a quarter of the time of its import.
    """
    import matplotlib.artist

    artist: Any = matplotlib.artist
    write = artist.kwdoc
    artist.kwdoc = lambda _: ""
    try:
        import matplotlib.figure
    finally:
        artist.kwdoc = write


def save_picture(figure: Figure, out: Path, *, dpi: int | None = None) -> None:
    """Write a figure; the file appears under its name when it is complete."""
    import matplotlib as mpl

    from hilum.io.atomic import atomic_path

    if dpi is not None and not 10 <= dpi <= 1200:
        raise InputError(f"dpi is {dpi}, expected 10 to 1200", code="option")
    dots: int | Literal["figure"] = "figure" if dpi is None else dpi
    with atomic_path(out) as temporary:
        if out.suffix.lower() == ".png":  # better compression takes longer than the drawing
            figure.savefig(temporary, dpi=dots, pil_kwargs={"compress_level": 1})
        else:
            # A vector picture gets no date and no random names, so that the same picture has the same bytes.
            date = "Date" if out.suffix.lower() == ".svg" else "CreationDate"
            with mpl.rc_context({"svg.hashsalt": "hilum"}):
                figure.savefig(temporary, dpi=dots, metadata={date: None})


def require(module: str, package: str) -> None:
    """Raise an error if a package of the extra ``plots`` is not installed."""
    if find_spec(module) is None:
        do = "pip install 'hilum[plots]'"
        raise InputError(f"pictures need {package}, which is not installed", do=do, code="option")


def save(figure: Figure, out: Path, options: Options) -> None:
    """Write a figure and print its size."""
    save_picture(figure, out, dpi=options.dpi)
    print_result(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


def load(source: Path, options: Options, out: Path | None = None) -> Scan:
    """Read a scan, finished or not, in HU, after checking that its picture can be drawn."""
    if out is not None:
        check_picture(out)
    if (finished := finished_scan(source)) is None:
        scan = hilum.read(
            source, series=options.series, annotations=options.annotations, series_uid=options.series_uid,
            **options.as_read(),
        )  # fmt: skip
        print_notes(scan.notes)
        return scan
    from hilum.outputs.store import HU

    if options.as_read() != Options().as_read():
        what = "is a finished scan: how it was read is in its recipe"
        raise InputError(what, where=finished.folder, do="leave --hu-offset and the like out", code="option")
    if (unit := finished.record.unit) != HU:
        what = f"this scan is stored in the {unit}, but pictures need HU"
        raise InputError(what, where=finished.folder, do="give the scan that it was made from", code="not-in-hu")
    finished.check_files()
    scan = finished.scan()
    if options.annotations is None:
        return scan
    from hilum.io.annotate import annotate

    return annotate(scan, options.annotations)


def finished_scan(source: Path) -> RunScan | None:
    """Open a finished scan: the source itself, or the only scan of a run's output."""
    if (source / "scan.json").is_file():
        return hilum.RunScan(source)
    if not ((source / "scans").is_dir() and (source / "recipe.toml").is_file()):
        return None
    if len(run := hilum.open_run(source)) != 1:
        do = f"give one of them: {run[0].folder}" if len(run) else "look at its ledger.jsonl"
        raise InputError(f"holds {len(run)} finished scans, expected one", where=source, do=do, code="option")
    return run[0]


def with_lungs(scan: Scan) -> Scan:
    """Segment the lungs of a scan that has no lung mask."""
    if scan.lungs is not None:
        return scan
    if not (mask := hilum.segment_lungs(scan.ct)).array.any():
        print_note("lungs: no lung was found")
    return replace(scan, lungs=mask)


def slice_index(slice_number: int | None) -> int | None:
    """Convert a slice number, counted from 1, to an index."""
    if slice_number is not None and slice_number < 1:
        raise InputError(f"slice number {slice_number}, but slices are counted from 1", code="option")
    return None if slice_number is None else slice_number - 1


def rescale_of(source: Path, scan: Scan) -> tuple[float, float] | None:
    """Slope and intercept that all slices of a DICOM series share; None for other files, or if slices differ."""
    if not scan.slice_uids:
        return None
    from hilum.io.archives import opened
    from hilum.io.dicom.reader import index_dicom

    uids = set(scan.slice_uids)
    with opened(source) as place:
        slices = [h for stack in index_dicom(place.path) for h in stack.slices]
    pairs = {(h.slope, h.intercept) for h in slices if h.sop_uid in uids and not h.lut}
    slope, intercept = pairs.pop() if len(pairs) == 1 else (None, None)
    if slope is None or intercept is None:
        print_note("rescale: slices differ in slope and intercept, or have a table; the curve is an example")
        return None
    return slope, intercept
