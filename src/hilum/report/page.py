"""Write the page: the template, style and script in ``static``, filled with the data of a run."""

import base64
import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import median
from string import Template

from hilum.errors import InputError
from hilum.io.atomic import atomic_path
from hilum.report.charts import charts, froc_curve
from hilum.report.detections import RunDetections, score_run
from hilum.report.gather import UNLISTED, PageContent, gather
from hilum.report.risk import CHECK, LEVEL_WORDS, LEVELS
from hilum.report.text import html, json_block
from hilum.report.to_check import WORDS, to_check
from hilum.runs.run import AnyRun, open_run

NAME = "report.html"

_MOST_LABELS = 200  # rows of the table of labels
_MOST_SCANS = 1000  # rows of the table of detections

STATUSES = {
    "done": "stored without changes to image or geometry",
    "repaired": "stored; hilum changed the image or its geometry",
    "refused": "not stored; the input is not reliable",
    "failed": "not stored; hilum or the machine failed",
}


_COLUMN_WORDS = {
    "finding": "something that hilum met in a scan, by a short name; open the scan for its sentence",
    "alarm": "a finding that says that the scan, its nodules or its lung mask are probably wrong",
    "score": "how plausible the lung mask is by its volume, border and place: 1 plausible, below 0.5 probably wrong; "
    "it does not compare the mask with another one",
    "right ml, left ml": "volume of the right and of the left lung in the mask",
    "in the volume": "the center of the nodule lies in the stored volume",
    "off by": "distance from a nodule's world position to that of its voxel and back, in the stored file",
    "fingerprint": "of input, recipe and version: the same fingerprint, the same output",
}


@dataclass(frozen=True)
class Report:
    """The written file, its size in bytes, the number of scans, and how many of them have pictures."""

    path: Path
    size: int
    scans: int
    pictures: int


def write_report(
    folder: AnyRun, out: Path | None = None, *, detections: Path | None = None, scans: Path | None = None
) -> Report:
    """Write the page of a run.

    Parameters
    ----------
    folder : str or path
        The output folder of ``hilum run``, or a `hilum.Run`.
    out : Path, optional
        The file; by default ``report.html`` in the folder.
    detections : Path, optional
        A detector's table of marks, to score on the run.
    scans : Path, optional
        The series that the detector searched: a csv with the column seriesuid, or one UID per line; by default all.

    Returns
    -------
    Report

    Raises
    ------
    MissingInputError
        If the folder holds no ledger.
    AnnotationError
        If the detections cannot be used, or no scan has annotations.
    OutputError
        If the file cannot be written.
    """
    if scans is not None and detections is None:
        raise InputError("a list of scans needs detections", where=scans, do="give --detections", code="option")
    run = gather(opened := open_run(folder))
    found = None if detections is None else score_run(detections, opened, listed=scans)
    path = opened.folder / NAME if out is None else out
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(page(run, found))
    return Report(path, path.stat().st_size, len(run.entries), len(run.pictures))


def page(run: PageContent, detections: RunDetections | None = None) -> Iterator[str]:
    """Generate the page in pieces of HTML; equal for equal runs."""
    style, script = _static("report.css"), _static("report.js")
    yield Template(_static("report.html")).substitute(
        title=html(f"hilum: {run.name}"),
        policy=html(
            f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
            "base-uri 'none'; form-action 'none'"
        ),
        style=style,
        name=html(run.name),
        to_check_count=sum(entry.risk >= CHECK for entry in run.entries),
        scan_count=len(run.entries),
        verdict=_verdict(run),
        to_check=to_check(run.entries),
        facts=_facts(run),
        balance=_balance(run),
        words="".join(f"<div><dt>{html(name)}</dt><dd>{html(text)}</dd></div>" for name, text in _words().items()),
        datasets=_datasets(run) + _label_maps(run),
        recipe="\n".join(map(html, run.recipe.splitlines())) or "no recipe.toml",
        detections="" if detections is None else _detections(detections),
        charts="\n".join(charts(run.entries)),
        levels=json_block(LEVELS),
    )
    yield f'<script type="application/json" id="scans">{json_block(run.entries)}</script>\n'
    for number, entry in enumerate(run.entries):
        if entry.id in run.pictures:
            packed = base64.b64encode(run.pictures[entry.id]).decode()
            yield f'<script type="text/plain" id="picture-{number}">{packed}</script>\n'
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _static(name: str) -> str:
    return files("hilum.report").joinpath("static", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The hash by which a content security policy allows a script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _facts(run: PageContent) -> str:
    finished = [entry for entry in run.entries if entry.geometry is not None]
    pairs = {
        "Scans": f"{run.rows} in, {len(finished)} finished, {len(run.pictures)} with pictures",
        "Recipe": ", ".join(sorted({entry.recipe for entry in finished})) or "-",
        "Made by hilum": ", ".join(sorted({entry.version for entry in finished})) or "-",
        "Voxels hold": ", ".join(sorted({entry.unit for entry in finished})) or "-",
        "Nodules": str(sum(len(entry.nodules) for entry in finished)),
        "Time": f"{sum(entry.seconds for entry in run.entries):.0f} s over all scans",
        "Ledger written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(run.written)),
    }
    return "".join(f"<div><dt>{html(name)}</dt><dd>{html(value)}</dd></div>" for name, value in pairs.items())


def _counts(run: PageContent) -> dict[str, int]:
    return {status: sum(entry.status == status for entry in run.entries) for status in STATUSES}


def _verdict(run: PageContent) -> str:
    """Whether the ledger accounts for every scan, in one line."""
    counts = _counts(run)
    missing = sum(e.status in {"done", "repaired"} and e.geometry is None for e in run.entries)
    unlisted = sum(entry.status == UNLISTED for entry in run.entries)
    problems = {
        f"{missing} scans are done in the ledger, but their output is missing": missing,
        f"{unlisted} finished scans are not in the ledger": unlisted,
        f"{run.unreadable} lines of the ledger cannot be read": run.unreadable,
        f"{run.rows - sum(counts.values())} scans have no status": run.rows - sum(counts.values()),
    }
    faults = [text for text, count in problems.items() if count]
    terms = " + ".join(f"{count} {status}" for status, count in counts.items())
    sound = f"The ledger is complete: {run.rows} scans = {terms}."
    verdict = "The ledger has faults: " + "; ".join(faults) if faults else sound
    return f'<p class="{"bad" if faults else "good"}" id="verdict">{html(verdict)}</p>'


def _balance(run: PageContent) -> str:
    counts = _counts(run)
    rows = [(status, counts[status], meaning) for status, meaning in STATUSES.items()]
    rows.append(("sum", sum(counts.values()), f"of {run.rows} scans in the ledger"))
    return _table(("status", "scans", "meaning"), rows)


def _words() -> dict[str, str]:
    """What the words of the page mean."""
    risks = {f"risk: {name}": text for name, text in zip(LEVELS, LEVEL_WORDS, strict=True)}
    return {**dict(reversed(risks.items())), **_COLUMN_WORDS, **{code: words for code, (words, _) in WORDS.items()}}


def _datasets(run: PageContent) -> str:
    if not run.datasets:
        return ""
    rows = [
        {
            "data set": one.dataset,
            "scans": one.scans,
            "finished": one.finished,
            "with nodules": one.scans_with_nodules,
            "nodules": one.nodules,
            "in the volume": one.landed,
            "in the lungs": "-" if one.inside_lungs is None else one.inside_lungs,
            "largest error (mm)": f"{one.largest_round_trip_mm:.1g}",
            "folds": ", ".join(f"{name}: {count}" for name, count in one.folds.items()) or "-",
        }
        for one in run.datasets
    ]
    notes = "".join(f"<li>{html(f'{one.dataset}: {note}')}</li>" for one in run.datasets for note in one.notes)
    hint = "<p>Of the last run. A nodule is in the volume if its center is.</p>"
    table = _table(rows[0], [row.values() for row in rows])
    return f"<h3>Data sets</h3>{table}{hint}" + (f"<ul>{notes}</ul>" if notes else "")


def _label_maps(run: PageContent) -> str:
    """How many scans have each label, and how large it is; nothing for a run without label maps."""
    volumes: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    having: defaultdict[str, int] = defaultdict(int)
    for entry in run.entries:
        for name, one in entry.label_maps.items():
            having[name] += 1
            for label in one.values:
                volumes[name, label].append(one.volumes_ml.get(label, 0.0))
    if not having:
        return ""
    finished = sum(entry.geometry is not None for entry in run.entries)
    some = sum(bool(entry.label_maps) for entry in run.entries)
    rows = []
    for (name, label), every in sorted(volumes.items()):
        there = [volume for volume in every if volume > 0]
        sizes = [f"{of(there):.4g}" for of in (median, min, max)] if there else ["-"] * 3
        rows.append((name, label, having[name], len(there), *sizes))
    head = ("label map", "label", "scans", "not empty in", "median (ml)", "smallest (ml)", "largest (ml)")
    rest = f"<p>... and {len(rows) - _MOST_LABELS} more labels</p>" if len(rows) > _MOST_LABELS else ""
    hint = f'<p id="labeled">{some} of {finished} finished scans have label maps. Volumes leave out empty labels.</p>'
    return f"<h3>Label maps</h3>{_table(head, rows[:_MOST_LABELS])}{rest}{hint}"


def _detections(found: RunDetections) -> str:
    """The FROC curve of a detector on the run, and its scans, the worst first."""
    score = found.score
    rows = [
        (
            row.scan_id,
            row.nodules,
            row.hits,
            row.misses,
            row.false_positives,
            ", ".join(f"{mm:.1f}" for mm in row.missed_mm),
        )
        for row in found.scans
    ]
    head = ("scan", "nodules", "hits", "misses", "false positives", "missed (mm)")
    hits = sum(row.hits for row in found.scans)
    rate = sum(row.false_positives for row in found.scans) / score.scans
    told = (
        f"Marks with a probability of {found.threshold:.4g} or more hit {hits} of {score.nodules} nodules in "
        f"{score.scans} scans, with {rate:.3g} false positives a scan. Scans with the most misses come first."
    )
    if found.not_annotated:
        told += f" {found.not_annotated} scans without annotations do not count."
    notes = "".join(f"<li>{html(f'{note.code}: {note.text}')}</li>" for note in found.notes)
    notes = f"<ul>{notes}</ul>" if notes else ""
    more = f"<p>... and {len(rows) - _MOST_SCANS} more scans</p>" if len(rows) > _MOST_SCANS else ""
    drawn = f'<div class="charts">{froc_curve(score)}</div><p id="hits">{html(told)}</p>'
    title = '<section id="detections" aria-labelledby="detections-title"><h2 id="detections-title">Detections</h2>'
    return f"{title}{drawn}{notes}{_table(head, rows[:_MOST_SCANS])}{more}</section>"


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    names = "".join(f'<th scope="col">{html(name)}</th>' for name in head)
    lines = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cell(value: object) -> str:
    return f'<td class="number">{value}</td>' if isinstance(value, int) else f"<td>{html(value)}</td>"
