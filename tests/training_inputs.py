"""A finished run for the tests of training and exports: small scans of noise with nodules at known positions."""

from __future__ import annotations

import csv
import json

import numpy as np
from small_runs import append_row

import hilum
from hilum.batch.task import finished_row
from hilum.geometry import IDENTITY_DIRECTION
from hilum.outputs.finished import read_record
from hilum.outputs.ledger import Row
from hilum.outputs.store import store_scan
from hilum.scan import LabelMap, Note

OBLIQUE = ((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (-1.0, 0.0, 0.0))
NODULES = (
    hilum.Nodule((3.2, 1.7, -5.1), 9.0),
    hilum.Nodule((-14.0, 6.0, 12.0), 17.0),
    hilum.Nodule((400.0, 0.0, 0.0), 21.0),
)


def make_run(folder, *, file_format="npy", direction=IDENTITY_DIRECTION, spacing=(2.0, 1.0, 1.5), lobes=None):
    """Write four finished scans: annotated, annotated without nodules, not annotated, with nodules at the ends.

    `lobes` gives the values of a label map of that name, by the id of the scan; its values are 2 and 5. These scans
    have an empty label map too, called none.
    """
    grid = hilum.Geometry((30, 48, 40), spacing, direction=direction)
    grid = hilum.Geometry(grid.shape, spacing, tuple(-c for c in grid.center), direction)
    ends = tuple(hilum.Nodule(tuple(grid.index_to_world((z, 20, 20)).tolist()), 7.0) for z in (0.2, 28.9))
    kinds = {
        "ct-a": (NODULES, True, ()),
        "ct-b": ((), True, (Note("no-nodules", "the annotations list no nodule of this series"),)),
        "ct-c": ((), False, ()),
        "ct-d": (ends, True, ()),
    }
    for seed, (name, (nodules, annotated, notes)) in enumerate(kinds.items()):
        values = np.random.default_rng(seed).integers(-1024, 400, grid.shape).astype(np.int16)
        lungs = np.zeros(grid.shape, np.uint8)
        lungs[4:26, 8:40, 5:18], lungs[4:26, 8:40, 22:35] = 1, 2
        scan = hilum.Scan(
            series_uid=f"1.2.3.{seed}",
            ct=hilum.Volume(values, grid),
            nodules=nodules,
            annotated=annotated,
            lungs=hilum.Mask(lungs, grid),
            nodule_mask=hilum.mask_nodules(grid, nodules) if annotated else None,
            notes=notes,
            label_maps=label_maps(grid, lobes[name]) if name in (lobes or {}) else {},
        )
        names = {"scan_id": name, "file_format": file_format, "recipe_name": "x", "recipe_sha256": "0"}
        record = store_scan(scan, folder / "scans", source=grid, fingerprint="0", **names)
        append_row(folder, finished_row(folder / "scans" / name, record, stamp=""))
    append_row(folder, Row(id="ct-e", status="refused", code="gantry-tilt", reason="tilted"))
    return folder


def label_maps(grid, values):
    """Two touching boxes off the middle, the second with more voxels in fewer slices; and nothing."""
    array = np.zeros(grid.shape, np.uint8)
    array[3:16, 9:20, 6:15], array[16:21, 5:40, 10:31] = 2, 5
    empty = np.zeros(grid.shape, np.uint8)
    return {
        "lobes": LabelMap(hilum.Mask(array, grid), values),
        "none": LabelMap(hilum.Mask(empty, grid), {"none": 1}),
    }


def replace_record(run, name, record):
    """Replace the ``scan.json`` of a scan, and its ledger row."""
    folder = run / "scans" / name
    (folder / "scan.json").write_text(json.dumps(record))
    append_row(run, finished_row(folder, read_record(folder), stamp=""))


def read_index(folder):
    with (folder / "index.csv").open(newline="") as file:
        return list(csv.DictReader(file))
