"""What a notebook shows of a run, and of one of its scans: what the run left behind, its small pictures too.

No volume is read. As in `hilum.viewer.summary`, all text is escaped.
"""

from base64 import b64encode
from collections.abc import Iterable

from hilum.errors import InputError
from hilum.outputs import parts
from hilum.outputs.ledger import Row as LedgerRow
from hilum.report.text import html, visible
from hilum.runs.run import Run
from hilum.runs.run_scan import RunScan
from hilum.viewer.summary import MOST_LINES, Row, grid_rows, join_lines, ml, nodule_lines, note_lines, page

MOST_PICTURES, MOST_BYTES = 6, 120_000  # of previews in the summary of a run


def run_html(run: Run) -> str:
    """Describe a run as HTML: how many scans have which status, the previews of the first, the reasons of refusals.

    Parameters
    ----------
    run : Run
        Its ledger, and the records and previews of the first scans, are read.

    Returns
    -------
    str
        An element without scripts; all that it shows is in it.
    """
    counts = ", ".join(f"{count} {status}" for status, count in run.status.items() if count)
    rows = [("finished scans", str(len(run))), ("status", counts or "no ledger")]
    rows += _reasons("refused", run.refused) + _reasons("failed", run.failed)
    pictures: list[str] = []
    left = MOST_BYTES
    for scan_id in run.ids[:MOST_PICTURES]:
        picture = _picture(run[scan_id])
        left -= len(picture)
        if left < 0:
            break
        row = run.rows.get(scan_id)
        told = [scan_id, *([] if row is None else [row.status, *row.alarms])]
        pictures.append(f'<div style="font-size:85%">{html(visible(", ".join(told), limit=200))}</div>{picture}')
    rest = len(run) - len(pictures)
    more = f'<div style="font-size:85%">and {rest} more</div>' if rest and pictures else ""
    return page(f"Run {visible(run.folder.resolve().name, limit=100)}", "".join(pictures) + more, "", rows)


def run_scan_html(scan: RunScan) -> str:
    """Describe a finished scan of a run as HTML, as `run_html`."""
    rows: list[Row] = [] if scan.row is None else [("status", html(scan.row.status))]
    if (record := scan.valid_record) is None:
        return page(f"RunScan {scan.scan_id}", "", "", [*rows, ("scan.json", "missing, damaged, or not the run's")])
    rows += [*grid_rows(scan.geometry), ("unit", html(record.unit))]
    volumes = [f"{key.split('_')[1]} {ml(one)}" for key, one in scan.figures.items() if key in _LUNGS]
    rows += [("lungs", ", ".join(volumes))] if volumes else []
    rows += nodule_lines(scan.nodules, annotated=scan.annotated)
    rows += [("label maps", html(", ".join(record.label_maps)))] if record.label_maps else []
    rows += note_lines(scan.labels, scan.notes)
    return page(f"RunScan {scan.scan_id}", _picture(scan), "", rows)


_LUNGS = ("lung_right_ml", "lung_left_ml")


def _picture(scan: RunScan) -> str:
    """The stored preview as an element; nothing if there is none, or it has changed."""
    try:
        found = None if scan.valid_record is None else parts.read_preview(scan.folder, scan.valid_record)
    except InputError:
        found = None
    if found is None:
        return ""
    style = "display:block;max-width:100%;margin:2px 0 4px;background:black"
    data = b64encode(found[1]).decode()
    return f'<img alt="preview of {html(scan.scan_id)}" style="{style}" src="data:image/png;base64,{data}">'


def _reasons(name: str, rows: Iterable[LedgerRow]) -> list[Row]:
    found = tuple(rows)
    lines = (html(f"{visible(row.id, limit=100)}: {visible(row.reason, limit=300)}") for row in found[:MOST_LINES])
    return [(name, join_lines(lines, len(found)))] if found else []
