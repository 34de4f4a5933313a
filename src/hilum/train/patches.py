"""Patches of a finished run, cut once: at the nodules, and at places that are none, with an index of where they lie."""

from __future__ import annotations

import csv
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

import hilum
from hilum.errors import HilumError, InputError, one_line
from hilum.io.annotations.csv_tables import safe_cells
from hilum.io.annotations.detections import read_candidates, read_findings
from hilum.io.output_kinds import RECIPE
from hilum.io.volumes.volume_file import MIN_HU
from hilum.ops.nodules.masks import mask_nodules
from hilum.ops.patches.boxes import Box, cut_patch, padded_voxels
from hilum.outputs.nodule_records import read_locations
from hilum.outputs.store import HU
from hilum.outputs.volumes import read_stored
from hilum.recipes import recipe, recipe_fingerprint
from hilum.train.patch_records import COLUMNS, Patches, PatchOptions, ScanPatches, file_record
from hilum.train.places import Place, candidate_places, check_jitter, lung_place, nodule_place, nodules_of
from hilum.train.runs import SUMMARY, RunScan, Skip, check_files, list_run, no_nodules, output_folder
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.geometry import Vector
    from hilum.outputs.records import FileRecord
    from hilum.train.places import Points


def write_patches(
    folder: Path,
    out: Path,
    options: PatchOptions | None = None,
    *,
    candidates: Path | None = None,
    excluded: Path | None = None,
    kept: bool = False,
    fold_by: str = "fold",
    overwrite: bool = False,
) -> Patches:
    """Cut patches out of a finished run: positives at the nodules, negatives elsewhere, masks beside both.

    Negatives come from the tables where any is given (candidates of class 0, excluded findings), else from random
    voxels of the lungs. A scan's patches are in ``images_SCAN.npy`` and ``masks_SCAN.npy``, shape (n, z, y, x), on
    its own grid, voxels exactly as stored; beyond its border lies air (-1024 HU, or what the recipe makes of it) and
    no nodule. ``index.csv`` has a row a patch, ``summary.json`` the options, the grids, checksums, and every nodule,
    candidate and scan left out. The same run, options and tables give the same bytes.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``.
    out : Path
        Appears only when complete.
    options : PatchOptions, optional
    candidates : Path, optional
        LUNA16's candidates.csv; class 1 is passed over, as those are nodules.
    excluded : Path, optional
        LUNA16's annotations_excluded.csv.
    kept : bool
        Draw negatives from the candidates and excluded findings that the run keeps with each scan.
    fold_by : str
        The label of a scan that the index tells as its fold: ``patient_fold`` keeps a patient's scans together.
    overwrite : bool
        Replace an earlier result.

    Returns
    -------
    Patches
        Codes of skips: ``"nodule-outside"``, ``"candidate-outside"``, ``"near-nodule"``, ``"few-negatives"``,
        ``"no-lungs"``, ``"not-annotated"``, ``"no-nodules"``, ``"other-series"``, ``"unknown-air"``,
        ``"damaged-scan"``, ``"run-refused"``, ``"run-failed"``.

    Raises
    ------
    InputError
        If no scan is finished, the jitter is too large for the patches, or a table cannot be trusted.
    OutputError
        If `out` is in use or cannot be written.
    """
    options = options or PatchOptions()
    if kept and (candidates is not None or excluded is not None):
        raise InputError("both the run's own tables and others are asked for", do="leave one out", code="option")
    scans, skipped = list_run(folder, fold_by=fold_by)
    size = (options.size,) * 3
    for scan in scans:
        check_jitter(scan.geometry, size, options.jitter_mm)
    pool = _pool(candidates, excluded, {scan.uid for scan in scans}, skipped)
    made, first = list[ScanPatches](), 0
    with output_folder(out, run=folder, overwrite=overwrite) as partial:
        with (partial / "index.csv").open("w", newline="", encoding="utf-8") as file:
            index = csv.writer(file, lineterminator="\n")
            index.writerow(COLUMNS)
            for scan in scans:
                try:
                    points = None if pool is None else pool.get(scan.uid, [])
                    points = _kept(scan) if kept else points
                    one, rows = _of_scan(scan, folder, partial, options, points, skipped)
                except HilumError as problem:
                    code = "unknown-air" if problem.code == "unknown-air" else "damaged-scan"
                    skipped.append(Skip(scan=scan.record.scan_id, code=code, reason=one_line(problem.what)))
                    continue
                made += [one] if rows else []
                index.writerows(safe_cells([first + k, *row]) for k, row in enumerate(rows))
                first += len(rows)
        told = Patches(
            version=hilum.__version__,
            options=options,
            positives=sum(one.positives for one in made),
            negatives=sum(one.negatives for one in made),
            index=file_record(partial / "index.csv"),
            scans=made,
            skipped=skipped,
        )
        (partial / SUMMARY).write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")
    return told


def _pool(
    candidates: Path | None, excluded: Path | None, known: set[str], skipped: list[Skip]
) -> dict[str, list[tuple[str, Vector]]] | None:
    """Points for negatives, by series, each with the kind of its table; None where no table is given."""
    if candidates is None and excluded is None:
        return None
    tables = []
    if candidates is not None:
        found = read_candidates(candidates).tables.items()
        tables.append(("candidate", {uid: table[table[:, 3] == 0] for uid, table in found}))
    if excluded is not None:
        tables.append(("excluded", read_findings(excluded, excluded=True).tables))
    pool: dict[str, list[tuple[str, Vector]]] = {}
    others: dict[str, int] = {}
    for kind, by_series in tables:
        for uid, table in by_series.items():
            if uid in known:
                pool.setdefault(uid, []).extend((kind, (x, y, z)) for x, y, z, _ in table.tolist())
            else:
                others[uid] = others.get(uid, 0) + len(table)
    if others:
        reason = f"rows of {len(others)} series that are not in this run"
        skipped.append(Skip(scan="", code="other-series", reason=reason, count=sum(others.values())))
    return pool


def _kept(scan: RunScan) -> list[tuple[str, Vector]]:
    """Points for negatives that the run keeps with a scan."""
    found = read_locations(scan.folder, scan.record)
    return [
        ("candidate" if kind == "candidates" else kind, (x, y, z))
        for kind, table in found.items()
        for x, y, z, value in table.tolist()
        if kind != "candidates" or value == 0
    ]


def _of_scan(
    scan: RunScan,
    folder: Path,
    partial: Path,
    options: PatchOptions,
    points: Points | None,
    skipped: list[Skip],
) -> tuple[ScanPatches, list[list[Any]]]:
    """Write one scan's patches; what they are, and a row of the index each."""
    name, size, grid = scan.record.scan_id, (options.size,) * 3, scan.geometry
    if not scan.annotated or not (scan.record.nodules or options.negatives):
        skipped.append(no_nodules(scan))
        return _told(scan, [], 0.0, {}), []
    check_files(scan)
    air = air_value(scan, folder)
    ct, lungs, drawn = (read_stored(scan.folder, scan.record, part) for part in ("ct", "lungs", "nodules"))
    if ct is None:
        raise InputError("the scan's folder holds no ct file", where=scan.folder)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    generator = np.random.default_rng([options.seed, seed])
    places = _positives(scan, options, generator, skipped)
    places += _negatives(scan, options, generator, None if lungs is None else lungs.array, points, skipped)
    if not places:
        return _told(scan, [], air, {}), []
    labels = mask_nodules(grid, scan.nodules) if drawn is None else Mask(drawn.array, grid)
    images = np.stack([cut_patch(Volume(ct.array, grid), place.start, size, fill=air).array for place in places])
    masks = np.stack([cut_patch(labels, place.start, size).array for place in places])
    files = {f"images_{name}.npy": images, f"masks_{name}.npy": masks}
    for file, array in files.items():
        np.save(partial / file, array)
    rows = [[*files, k, *_row(scan, place, size, int(np.count_nonzero(masks[k])))] for k, place in enumerate(places)]
    return _told(scan, places, air, {file: file_record(partial / file) for file in files}), rows


def air_value(scan: RunScan, folder: Path) -> float:
    """What air is in a scan's own unit: -1024 in HU, the least of the recipe's range elsewhere.

    Parameters
    ----------
    scan : RunScan
    folder : Path
        The run's output folder: its ``recipe.toml`` tells.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the scan was made by another recipe than the folder's.
    """
    if scan.record.unit == HU:
        return float(MIN_HU)
    made = recipe(folder / RECIPE)
    if recipe_fingerprint(made) != scan.record.recipe_sha256:
        what = "was made by another recipe than recipe.toml: what is air in it is not known"
        raise InputError(what, where=scan.folder, do="run it again", code="unknown-air")
    return -made.intensity.mean


def _positives(
    scan: RunScan, options: PatchOptions, generator: np.random.Generator, skipped: list[Skip]
) -> list[Place]:
    size, places = (options.size,) * 3, []
    for number, nodule in enumerate(scan.record.nodules):
        if not nodule.inside:
            reason = "its center is outside the scan"
            skipped.append(Skip(scan=scan.record.scan_id, code="nodule-outside", reason=reason, nodule=nodule.label))
            continue
        places += [
            nodule_place(scan, number, scan.geometry, size, options.jitter_mm, generator)
            for _ in range(options.per_nodule)
        ]
    return places


def _negatives(
    scan: RunScan,
    options: PatchOptions,
    generator: np.random.Generator,
    lungs: NDArray[np.uint8] | None,
    points: Points | None,
    skipped: list[Skip],
) -> list[Place]:
    name, size, far = scan.record.scan_id, (options.size,) * 3, options.distance_mm
    if not options.negatives:
        return []
    if points is None:
        if lungs is None or not lungs.any():
            reason = "it has no lung mask to draw negatives from"
            skipped.append(Skip(scan=name, code="no-lungs", reason=reason, count=options.negatives))
            return []
        drawn = (
            lung_place(scan.geometry, lungs, nodules_of(scan), size, far, generator) for _ in range(options.negatives)
        )
        places = [place for place in drawn if place is not None]
    else:
        kept, outside, near = candidate_places(scan.geometry, points, nodules_of(scan), size, far)
        if outside:
            reason = "points of the tables outside the scan"
            skipped.append(Skip(scan=name, code="candidate-outside", reason=reason, count=outside))
        if near:
            reason = "points of the tables nearer to a nodule than the distance asked for"
            skipped.append(Skip(scan=name, code="near-nodule", reason=reason, count=near))
        chosen = np.sort(generator.permutation(len(kept))[: options.negatives])
        places = [kept[k] for k in chosen]
    if len(places) < options.negatives:
        reason = f"only {len(places)} of {options.negatives} negatives were found"
        short = options.negatives - len(places)
        skipped.append(Skip(scan=name, code="few-negatives", reason=reason, count=short))
    return places


def _row(scan: RunScan, place: Place, size: Box, nodule_voxels: int) -> list[Any]:
    grid, center = scan.geometry, place.center(size)
    world = grid.index_to_world(center)
    diameter = scan.diameter_mm(place.nodule) if place.nodule else ""
    return [
        *(place.kind, int(place.nodule > 0), scan.fold, scan.record.scan_id, scan.uid, place.nodule or "", diameter),
        *(*place.start, *center.tolist(), *world.tolist(), *place.target),
        *(padded_voxels(grid.shape, place.start, size), nodule_voxels),
    ]


def _told(scan: RunScan, places: list[Place], air: float, files: dict[str, FileRecord]) -> ScanPatches:
    positives = sum(place.nodule > 0 for place in places)
    return ScanPatches(
        scan=scan.record.scan_id,
        series_uid=scan.uid,
        fold=scan.fold,
        positives=positives,
        negatives=len(places) - positives,
        unit=scan.record.unit,
        air=air,
        geometry=scan.record.geometry,
        files=files,
    )
