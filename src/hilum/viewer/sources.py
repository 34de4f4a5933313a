"""What there is to see: one scan, or the scans of a run, each with an id that is a counting number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hilum
from hilum.errors import InputError, MissingInputError
from hilum.io import ledger
from hilum.io.finished import look_up_scans, read_record
from hilum.io.preview import read_preview
from hilum.io.store import read_finished
from hilum.report.risk import flags, risk
from hilum.report.text import all_visible, visible
from hilum.viewer.shown import Shown, show_read, show_stored

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hilum.scan import Scan, ScanRef
    from hilum.viewer.reviews import Review

KEPT_TEXT = 100_000
"""Characters of a recipe that are shown."""


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
    """

    name: str
    row: dict[str, Any]
    folder: Path | None = None


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
            {**item.row, "id": str(number), "review": None if item.name not in reviews else reviews[item.name].told()}
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

    def shown(self, number: int) -> Shown:
        """Read a scan for the page; slow."""
        item = self.items[number]
        if self.scan is not None:
            return show_read(self.scan)
        if item.folder is None or (record := read_record(item.folder)) is None:
            raise MissingInputError("this scan has no output", where=item.name, do="see the run's ledger")
        return show_stored(
            read_finished(item.folder, record), record, recipe=self.recipe or "", original=self.originals.get(item.name)
        )

    def thumbnail(self, number: int) -> bytes | None:
        """The PNG that the run drew of a scan, where it did."""
        folder = self.items[number].folder
        record = None if folder is None else read_record(folder)
        if folder is None or record is None or (found := read_preview(folder, record)) is None:
            return None
        return found[1]


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
    row = _row(name, status="repaired" if scan.notes else "done", flags=[note.code for note in scan.notes])
    row |= {"nodules": len(scan.nodules) if scan.annotated else None, **_grid(scan.ct.shape, scan.ct.spacing)}
    return Source(name=name, items=(Item(name, row | {"viewable": True}),), scan=scan)


def _open_run(folder: Path, original: Path | None) -> Source:
    rows = ledger.read_ledger(folder)
    finished = {path.name: (path, record) for path, record in look_up_scans(folder, unlisted=True) if record}
    items = []
    for name in sorted({**rows, **finished}):
        path, record = finished.get(name, (None, None))
        told = rows.get(name)
        found = flags(told, record)
        row = _row(name, status="unlisted" if told is None else told.status, flags=[flag.name for flag in found])
        row |= {"reason": "" if told is None else told.reason, "risk": risk(found)}
        if record is not None:
            row |= {"viewable": True, "thumbnail": "preview.png" in record.files, "nodules": len(record.nodules)}
            row |= {f"{side}_ml": record.figures.get(f"lung_{side}_ml") for side in ("right", "left")}
            row |= _grid(record.geometry.shape, record.geometry.spacing)
        items.append(Item(name, row, path))
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
        text = path.read_text(encoding="utf-8")[:KEPT_TEXT]
    except (OSError, UnicodeDecodeError):
        return None
    return "\n".join(visible(line) for line in text.splitlines()) + "\n"
