"""What there is to see: one scan, or the scans of a run, each with an id that is a counting number."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hilum
from hilum.errors import FormatError, InputError, MissingInputError
from hilum.io.files import read_small
from hilum.outputs import ledger
from hilum.outputs.findings import finished_status
from hilum.outputs.finished import check_files, listed_scans, record_sha256
from hilum.outputs.preview_files import read_preview
from hilum.outputs.store import read_finished
from hilum.report.risk import flags, risk
from hilum.report.text import all_visible, visible
from hilum.viewer.checks import check_record
from hilum.viewer.shown import Shown, show_read, show_stored

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hilum.outputs.ledger_rows import Row
    from hilum.scan import Scan, ScanRef
    from hilum.viewer.checks import Checked
    from hilum.viewer.reviews import Review

KEPT_TEXT = 100_000
"""Bytes of a recipe that is shown."""

CHANGED = "changed"
"""The flag of a scan whose ``scan.json`` is not the one that the ledger names: nothing of it is shown."""


@dataclass(frozen=True, eq=False)
class Item:
    """One scan of the list.

    Parameters
    ----------
    name : str
        Its scan id in a run, else the name of its file or folder.
    row : dict
        What the list says of it.
    folder : Path or None
        Where it was stored, if it was.
    entry : Row or None
        Its line of the ledger, if it has one.
    """

    name: str
    row: dict[str, Any]
    folder: Path | None = None
    entry: Row | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """A scan that was read, or a run that was found.

    Parameters
    ----------
    name : str
    items : tuple of Item
        Their places are their ids.
    run : Path or None
        The run's folder.
    recipe : str or None
        The text of its ``recipe.toml``.
    scan : Scan or None
        The one scan, where it is no run.
    originals : mapping of str to ScanRef
        Where the input of a run's scans lies, as far as it was given.
    """

    name: str
    items: tuple[Item, ...]
    run: Path | None = None
    recipe: str | None = None
    scan: Scan | None = None
    originals: Mapping[str, ScanRef] = field(default_factory=dict)

    def session(self, reviews: Mapping[str, Review]) -> dict[str, Any]:
        """What the page is first told."""
        rows = [
            {**item.row, "id": str(number), "review": self.review(number, reviews.get(item.name))}
            for number, item in enumerate(self.items)
        ]
        told = {
            "kind": "scan" if self.run is None else "run",
            "name": self.name,
            "version": hilum.__version__,
            "reviews": self.run is not None,
            "scans": rows,
        }
        return {**all_visible(told), "recipe": self.recipe}

    def review(self, number: int, review: Review | None) -> dict[str, Any] | None:
        """A review as the page takes it, with whether it is of the output that is there now; None if unknown."""
        if review is None:
            return None
        current = review.scan_sha256 == self.digest(number) if review.scan_sha256 else None
        return review.told() | {"current": current}

    def digest(self, number: int) -> str:
        """Which output of a scan is there now: the SHA-256 of its ``scan.json``, or nothing."""
        folder = self.items[number].folder
        return "" if folder is None else record_sha256(folder)

    def shown(self, number: int) -> Shown:
        """Read a scan for the page, once its files were held against their checksums; slow."""
        item = self.items[number]
        if self.scan is not None:
            return show_read(self.scan)
        if item.folder is None:
            raise MissingInputError("this scan has no output", where=item.name, do="see the run's ledger")
        checked = self._checked(item, item.folder)
        with ThreadPoolExecutor(1) as beside:  # 0.5 s for 150 MB, while they are read
            check = beside.submit(check_files, item.folder, checked.record)
            try:
                scan = read_finished(item.folder, checked.record)
            finally:
                check.result()  # where both fail, this one says why
        return show_stored(scan, checked, recipe=self.recipe or "", original=self.originals.get(item.name))

    def thumbnail(self, number: int) -> bytes | None:
        """The PNG that the run drew of a scan, where it did."""
        item = self.items[number]
        found = None if item.folder is None else read_preview(item.folder, self._checked(item, item.folder).record)
        return None if found is None else found[1]

    def _checked(self, item: Item, folder: Path) -> Checked:
        """A scan's record, held against the ledger as it is now where it does not fit what that said: runs go on."""
        with suppress(FormatError):
            if item.entry is not None:
                return check_record(folder, item.entry)
        now = {} if self.run is None else ledger.read_ledger(self.run)
        return check_record(folder, now.get(item.name))


def open_source(
    path: Path, *, annotations: Path | None = None, original: Path | None = None, series: str = ""
) -> Source:
    """Find out what a path is, and read what must be read before anything can be shown.

    Parameters
    ----------
    path : Path
        A DICOM folder, a volume file, or the output folder of a run.
    annotations, original : Path, optional
        As `hilum.viewer.view` takes them.
    series : str

    Returns
    -------
    Source

    Raises
    ------
    InputError
        If there is nothing to see.
    """
    if (path / ledger.NAME).is_file():
        if annotations is not None or series:
            raise InputError(
                "a run has its own nodules and scans", where=path, do="leave --annotations and --series out"
            )
        return _open_run(path, original)
    if original is not None:
        raise InputError(
            "an original is shown beside a finished run", where=path, do="leave --original out", code="option"
        )
    scan = hilum.read(path, annotations=annotations, series=series)
    name = path.resolve().name
    codes = [note.code for note in scan.notes]
    row = _row(name, status=finished_status(codes), flags=codes)
    row |= {"nodules": len(scan.nodules) if scan.annotated else None, **_grid(scan.ct.shape, scan.ct.spacing)}
    return Source(name=name, items=(Item(name, row | {"viewable": True}),), scan=scan)


def _open_run(folder: Path, original: Path | None) -> Source:
    rows = ledger.read_ledger(folder)
    finished = {path.name: (path, record) for path, record in listed_scans(folder, unlisted=True) if path.is_dir()}
    items = []
    for name in sorted({**rows, **finished}):
        path, record = finished.get(name, (None, None))
        told = rows.get(name)
        changed = path is not None and record is None
        found = flags(told, record)
        names = [CHANGED] if changed else [flag.name for flag in found]
        row = _row(name, status="unlisted" if told is None else told.status, flags=names)
        row |= {"reason": "" if told is None else told.reason, "risk": risk(found), "viewable": path is not None}
        if record is not None:
            row |= {"thumbnail": "preview.png" in record.files, "nodules": len(record.nodules)}
            row |= {f"{side}_ml": record.figures.get(f"lung_{side}_ml") for side in ("right", "left")}
            row |= _grid(record.geometry.shape, record.geometry.spacing)
        items.append(Item(name, row, path, told))
    return Source(
        name=folder.resolve().name,
        items=tuple(items),
        run=folder,
        recipe=_recipe(folder / "recipe.toml"),
        originals=_originals(original),
    )


def _originals(path: Path | None) -> dict[str, ScanRef]:
    """Where the input of each scan lies: a run does not keep that, for paths can name patients."""
    if path is None:
        return {}
    from hilum import batch

    refs, _ = batch.index([path])
    return {ref.scan_id: ref for ref in refs}


def _row(name: str, *, status: str, flags: list[str]) -> dict[str, Any]:
    empty = dict.fromkeys(("risk", "nodules", "right_ml", "left_ml", "shape", "spacing"))
    return {
        "name": name,
        "status": status,
        "reason": "",
        "flags": flags,
        **empty,
        "viewable": False,
        "thumbnail": False,
    }


def _grid(shape: tuple[int, ...], spacing: tuple[float, ...]) -> dict[str, Any]:
    return {"shape": list(shape), "spacing": list(spacing)}


def _recipe(path: Path) -> str | None:
    try:
        text = read_small(path, limit=KEPT_TEXT).decode()
    except (InputError, UnicodeDecodeError):
        return None
    return "\n".join(visible(line) for line in text.splitlines()) + "\n"
