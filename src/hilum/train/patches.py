"""Patches of a finished run: positives at the nodules or in a label map, negatives elsewhere, and an index of both."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import hilum
from hilum.errors import HilumError, InputError, one_line
from hilum.geometry import Vector
from hilum.io.annotations.detections import read_candidates, read_findings
from hilum.ops.labels.shares import measure_labels
from hilum.ops.nodules.masks import mask_nodules
from hilum.ops.patches.boxes import Box, cut_patch, padded_voxels
from hilum.ops.patches.shapes import make_shape
from hilum.outputs import checksums, parts, records
from hilum.runs.run import AnyRun, open_run
from hilum.train import intensity, positions
from hilum.train.label_maps import NODULES, LabelVoxels, label_values, mask_part, scans_with
from hilum.train.output_folder import INDEX, SUMMARY, output_folder, write_index
from hilum.train.patch_records import COLUMNS, Patches, PatchOptions, ScanPatches
from hilum.train.positions import PatchPosition, Points
from hilum.train.runs import ListedScan, Skip, list_run
from hilum.volume import Mask, Volume

_NEGATIVES = {"candidates": "candidate", "excluded": "excluded", "non_nodules": "non-nodule"}
"""The kinds of stored locations from which negatives are drawn, and the kinds of those patches."""


def write_patches(
    folder: AnyRun,
    out: Path,
    options: PatchOptions | None = None,
    *,
    candidates: Path | None = None,
    excluded: Path | None = None,
    kept: bool = False,
    fold_by: str = "fold",
    overwrite: bool = False,
) -> Patches:
    """Cut patches from a finished run: positives at the nodules or in a label map, negatives elsewhere, with masks.

    Negatives come from tables if there are any (candidates of class 0, excluded findings), otherwise from random
    voxels of the lungs. The patches of a scan are in ``images_SCAN.npy`` and ``masks_SCAN.npy``, shape (n, z, y, x),
    on its own grid, with voxels as stored. Voxels outside the scan are air (-1024 HU, or its value after the recipe)
    and no nodule. ``index.csv`` has one row per patch. ``summary.json`` has the options, grids and checksums, and
    lists every nodule, candidate and scan that was left out. The same run, options and tables give the same bytes.

    Parameters
    ----------
    folder : str or path
        The output folder of ``hilum run``, or a `hilum.Run`.
    out : Path
        Appears only when complete.
    options : PatchOptions, optional
        Size, number and kind of patches; by default those of ``hilum patches``.
    candidates : Path, optional
        LUNA16's candidates.csv; class 1 is ignored, because those are nodules.
    excluded : Path, optional
        LUNA16's annotations_excluded.csv.
    kept : bool
        Draw negatives from the candidates, excluded findings and non-nodules that the run stored with each scan.
    fold_by : str
        The label that the index gives as fold: ``patient_fold`` keeps a patient's scans together. Folds of
        ``hilum folds`` come first.
    overwrite : bool
        Replace an earlier result.

    Returns
    -------
    Patches
        Codes of skips: ``"nodule-outside"``, ``"candidate-outside"``, ``"near-nodule"``, ``"few-negatives"``,
        ``"no-lungs"``, ``"not-annotated"``, ``"no-nodules"``, ``"no-labels"``, ``"empty-labels"``,
        ``"other-series"``, ``"unknown-air"``, ``"damaged-scan"``, ``"run-refused"``, ``"run-failed"``.

    Raises
    ------
    InputError
        If no scan is finished, the jitter is too large for the patches, or a table is invalid.
    OutputError
        If `out` is not empty or cannot be written.
    """
    options = options or PatchOptions()
    if kept and (candidates is not None or excluded is not None):
        raise InputError("both the run's own tables and other tables are given", do="leave one out", code="option")
    run = open_run(folder)
    folder = run.folder
    scans, skipped = list_run(run, fold_by=fold_by)
    if options.labels != NODULES:
        if kept or candidates is not None or excluded is not None:
            what = "tables of negatives are for patches at nodules, not in a label map"
            raise InputError(what, do="leave --labels or the tables out", code="option")
        scans, without = scans_with(scans, options.labels, filled=True)
        skipped += without
    for scan in scans:
        positions.check_jitter(scan.geometry, make_shape(options.size), options.jitter_mm)
    tables = _read_tables(candidates, excluded, {scan.uid for scan in scans}, skipped)
    written, index = list[ScanPatches](), list[list[Any]]()
    with output_folder(out, run=folder, overwrite=overwrite) as partial:
        for scan in scans:
            try:
                points = None if tables is None else tables.get(scan.uid, [])
                points = _stored_points(scan) if kept else points
                patches, rows = _write_scan(scan, folder, partial, options, points, skipped)
            except HilumError as problem:
                code = "unknown-air" if problem.code == "unknown-air" else "damaged-scan"
                skipped.append(scan.skip(code, one_line(problem.what)))
                continue
            written += patches
            index += rows
        write_index(partial, COLUMNS, ([number, *row] for number, row in enumerate(index)))
        summary = Patches(
            version=hilum.__version__,
            options=options,
            positives=sum(patches.positives for patches in written),
            negatives=sum(patches.negatives for patches in written),
            index=checksums.file_record(partial / INDEX),
            scans=written,
            skipped=skipped,
            label_values=label_values(scans, options.labels),
        )
        (partial / SUMMARY).write_bytes(records.json_bytes(summary))
    return summary


def _read_tables(
    candidates: Path | None, excluded: Path | None, series: set[str], skipped: list[Skip]
) -> dict[str, list[tuple[str, Vector]]] | None:
    """Read the points for negatives, by series, each with the kind of its table; None without tables."""
    if candidates is None and excluded is None:
        return None
    tables = []
    if candidates is not None:
        by_series = read_candidates(candidates).tables.items()
        tables.append(("candidate", {uid: table[table[:, 3] == 0] for uid, table in by_series}))
    if excluded is not None:
        tables.append(("excluded", read_findings(excluded, excluded=True).tables))
    points: dict[str, list[tuple[str, Vector]]] = {}
    others: dict[str, int] = {}
    for kind, by_uid in tables:
        for uid, table in by_uid.items():
            if uid in series:
                points.setdefault(uid, []).extend((kind, (x, y, z)) for x, y, z, _ in table.tolist())
            else:
                others[uid] = others.get(uid, 0) + len(table)
    if others:
        reason = f"rows of {len(others)} series that are not in this run"
        skipped.append(Skip(scan="", code="other-series", reason=reason, count=sum(others.values())))
    return points


def _stored_points(scan: ListedScan) -> list[tuple[str, Vector]]:
    """Read the points for negatives that the run stored with a scan."""
    return [
        (_NEGATIVES[kind], (x, y, z))
        for kind, table in parts.read_locations(scan.folder, scan.record, tuple(_NEGATIVES)).items()
        for x, y, z, value in table.tolist()
        if kind != "candidates" or value == 0
    ]


def _write_scan(
    scan: ListedScan, folder: Path, partial: Path, options: PatchOptions, points: Points | None, skipped: list[Skip]
) -> tuple[list[ScanPatches], list[list[Any]]]:
    """Write one scan's patches; give their record, if there are any, and one row of the index for each."""
    shape, grid, of_nodules = make_shape(options.size), scan.geometry, options.labels == NODULES
    size = shape.size
    if of_nodules and not (scan.annotated and (scan.record.nodules or options.negatives)):
        skipped.append(scan.skip_without_nodules())
        return [], []
    scan.check_files()
    air = intensity.air_value(scan, folder)
    ct, lungs, mask = (scan.read(part) for part in ("ct", "lungs", mask_part(options.labels)))
    if ct is None:
        raise InputError("the scan's folder has no ct file", where=scan.folder)
    seed = int.from_bytes(hashlib.sha256(scan.scan_id.encode()).digest()[:8], "little")
    generator = np.random.default_rng([options.seed, seed])
    labels = mask_nodules(grid, scan.nodules) if mask is None else Mask(mask.array, grid)
    if of_nodules:
        skipped += scan.skip_nodules_outside("nodule-outside")
        chosen = [
            positions.nodule_position(grid, nodule, shape, options.jitter_mm, generator)
            for nodule in scan.nodules_inside
            for _ in range(options.per_nodule)
        ]
        is_far = functools.partial(positions.are_far, spheres=scan.nodule_spheres, distance_mm=options.distance_mm)
    else:
        voxels = LabelVoxels(labels.array)
        chosen = [
            one.position(grid, shape, options.jitter_mm, generator)
            for one in map(voxels.of, measure_labels(labels.array))
            for _ in range(options.per_nodule)
        ]
        is_far = functools.partial(voxels.are_far, grid=grid, distance_mm=options.distance_mm)
    if options.negatives:
        where = None if lungs is None else Mask(lungs.array, grid)
        chosen += _negatives(scan, options, generator, where, points, is_far, skipped)
    if not chosen:
        return [], []
    images = np.stack([cut_patch(Volume(ct.array, grid), one.start(size), size, fill=air).array for one in chosen])
    masks = np.stack([cut_patch(labels, one.start(size), size).array for one in chosen])
    files = {f"images_{scan.scan_id}.npy": images, f"masks_{scan.scan_id}.npy": masks}
    for file, array in files.items():
        np.save(partial / file, array)
    rows = [[*files, k, *_row(scan, one, size, int(np.count_nonzero(masks[k])))] for k, one in enumerate(chosen)]
    positives = sum(position.value > 0 for position in chosen)
    patches = ScanPatches(
        scan=scan.scan_id,
        series_uid=scan.uid,
        fold=scan.fold,
        positives=positives,
        negatives=len(chosen) - positives,
        unit=scan.record.unit,
        air=air,
        geometry=scan.record.geometry,
        files={file: checksums.file_record(partial / file) for file in files},
    )
    return [patches], rows


def _negatives(
    scan: ListedScan,
    options: PatchOptions,
    generator: np.random.Generator,
    lungs: Mask | None,
    points: Points | None,
    is_far: Callable[[ArrayLike], NDArray[np.bool_]],
    skipped: list[Skip],
) -> list[PatchPosition]:
    grid, shape, wanted, distance_mm = scan.geometry, make_shape(options.size), options.negatives, options.distance_mm
    if points is not None:
        chosen, outside, near = positions.candidate_positions(grid, points, scan.nodule_spheres, shape, distance_mm)
        if outside:
            skipped.append(scan.skip("candidate-outside", "points of the tables outside the scan", count=outside))
        if near:
            reason = "points of the tables closer to a nodule than the least distance"
            skipped.append(scan.skip("near-nodule", reason, count=near))
        chosen = [chosen[k] for k in np.sort(generator.permutation(len(chosen))[:wanted])]
    elif lungs is None or not lungs.array.any():
        skipped.append(scan.skip("no-lungs", "it has no lung mask to draw negatives from", count=wanted))
        return []
    else:
        drawn = (positions.lung_position(lungs, shape, generator, is_far=is_far) for _ in range(wanted))
        chosen = [position for position in drawn if position is not None]
    if len(chosen) < wanted:
        reason = f"only {len(chosen)} of {wanted} negatives were found"
        skipped.append(scan.skip("few-negatives", reason, count=wanted - len(chosen)))
    return chosen


def _row(scan: ListedScan, position: PatchPosition, size: Box, nodule_voxels: int) -> list[Any]:
    nodule, start = position.nodule, position.start(size)
    world = scan.geometry.index_to_world(position.center)
    diameter = scan.diameter_mm(nodule) if nodule else ""
    return [
        *(position.kind, position.value, scan.fold, scan.scan_id, scan.uid, nodule or "", diameter),
        *(*start, *position.center, *world.tolist(), *position.target),
        *(padded_voxels(scan.geometry.shape, start, size), nodule_voxels),
    ]
