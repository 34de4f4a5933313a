"""Correcting masks in the page: its strokes beside numpy's, and what survives a reload and a killed server."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess

import numpy as np
import pytest
import viewer_walks
from scipy import ndimage

from hilum.viewer.corrections import decode_labels

MARKS = viewer_walks.MARKS

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (viewer_walks.WEB / "node_modules/esbuild").is_dir(),
    reason="the page's tools are not installed: python3 dev.py page, where node is",
)

# ---- the page's code in node, beside numpy

SHAPE, SPACING = (12, 40, 50), (2.5, 0.7, 0.9)


def painted(values, actions, shape=SHAPE, spacing=SPACING):
    """The mask and the answer after each action."""
    given = {"shape": shape, "spacing": spacing, "values": values.ravel().tolist(), "actions": actions}
    words = ["node", "test/editpaint.mjs"]
    done = subprocess.run(
        words, cwd=viewer_walks.WEB, input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for one in json.loads(done.stdout):
        yield np.frombuffer(base64.b64decode(one["labels"]), np.uint8).reshape(shape), one


def away(start, end, shape=SHAPE, spacing=SPACING, through=None):
    """The distance in mm of each voxel's center from a line; along the axis `through` only the slice counts."""
    at = np.moveaxis(np.indices(shape).astype(float), 0, -1) * spacing
    one, other = (np.array(point) * spacing for point in (start, end))
    if through is not None:
        for point in (at, one, other):
            point[..., through] = 0
    way = other - one
    share = np.clip((at - one) @ way / max(way @ way, 1e-300), 0, 1)
    distance = np.linalg.norm(at - one - share[..., None] * way, axis=-1)
    if through is not None:
        index = np.indices(shape)[through]
        distance[index != np.floor(end[through] + 0.5)] = np.inf
    return distance


def labels_of(seed=0):
    rng = np.random.default_rng(seed)
    return (ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2) > 0).astype(np.uint8) * rng.integers(
        1, 3, SHAPE, np.uint8
    )


@needs_node
@pytest.mark.parametrize("through", [None, 0, 1, 2])
@pytest.mark.parametrize("radius", [0.6, 3.3, 9.0])
def test_a_brush_marks_the_voxels_within_its_radius(through, radius):
    rng = np.random.default_rng(1)
    labels = labels_of()
    actions, lines = [], []
    for _ in range(6):  # some end outside the scan
        start, end = rng.uniform(-4, np.add(SHAPE, 4), (2, 3))
        if through is not None:
            start[through] = end[through] = rng.integers(0, SHAPE[through])
        only = [None, 2, 0][len(lines) % 3]
        lines.append((start, end, only))
        how = {"from": start.tolist(), "to": end.tolist(), "radius": radius, "through": through}
        actions.append({"does": "draw", **how, "label": 1, "only": only})
    for (mask, _), (start, end, only) in zip(painted(labels, actions), lines, strict=True):
        distance = away(start, end, through=through)
        inside = np.floor(end + 0.5).astype(int)
        if ((inside >= 0) & (inside < SHAPE)).all():
            distance[tuple(inside)] = 0
        expected = np.where((distance <= radius) & (True if only is None else labels == only), 1, labels)
        sure = np.abs(distance - radius) > 1e-9
        assert (mask == expected)[sure].all()
        assert (mask != labels).any() or not (expected != labels).any()
        labels = expected


@needs_node
@pytest.mark.parametrize(("across", "down"), [(2, 1), (2, 0), (1, 0)])
def test_a_fill_is_that_of_scipy(across, down):
    through = 3 - across - down
    labels = labels_of(2)
    rng = np.random.default_rng(3)
    spots = rng.integers(0, SHAPE, (40, 3)).tolist()
    actions = [{"does": "fill", "at": at, "across": across, "down": down, "label": 2} for at in spots]
    filled = 0
    for (mask, told), at in zip(painted(labels, actions), spots, strict=True):
        place = tuple(at[through] if axis == through else slice(None) for axis in range(3))
        plane = labels[place]
        spot = tuple(at[axis] for axis in range(3) if axis != through)
        regions, _ = ndimage.label(plane == plane[spot])  # by faces
        region = regions == regions[spot]
        closed = not (region[0].any() or region[-1].any() or region[:, 0].any() or region[:, -1].any())
        expected = labels.copy()
        if closed and plane[spot] != 2:
            expected[place][region] = 2
            filled += 1
        assert told["answer"] == (closed or plane[spot] == 2)
        assert (mask == expected).all()
        labels = expected
    assert filled


@needs_node
def test_undo_and_redo_are_exact_and_the_last_steps_are_kept():
    labels = labels_of(4)
    rng = np.random.default_rng(5)
    strokes = []
    for _ in range(230):
        start, end = rng.uniform(0, SHAPE, (2, 3)).tolist()
        label = int(rng.integers(0, 3))
        strokes.append(
            {"does": "draw", "from": start, "to": end, "radius": 2.0, "through": None, "label": label, "only": None}
        )
    back = [{"does": "undo"}] * 230
    again = [{"does": "redo"}] * 230
    told = list(painted(labels, [{"does": "saved"}, *strokes, *back, *again]))
    forward = [mask for mask, _ in told[:231]]
    steps = told[230][1]["undo"]
    assert 50 <= steps <= 200
    for k in range(230):
        mask, one = told[231 + k]
        assert one["answer"] == (k < steps)
        assert (mask == forward[max(230 - k - 1, 230 - steps)]).all()
    for k in range(steps):
        assert (told[461 + k][0] == forward[230 - steps + k + 1]).all()
    assert told[-1][1]["undo"] == steps
    assert told[0][1]["unsaved"] is False
    assert told[460][1]["unsaved"]  # the first steps cannot be undone any more


@needs_node
def test_unsaved_changes_are_what_differs_and_come_back():
    labels = labels_of(6)
    line = {"from": [3, 4, 5], "to": [8, 30, 40], "radius": 3.0, "through": None, "only": None}
    actions = [{"does": "draw", **line, "label": 1}, {"does": "draw", **line, "label": 0, "radius": 1.5}]
    actions += [{"does": "changes", "most": 10_000}, {"does": "changes", "most": 10}, {"does": "pack"}]
    *_, (mask, kept), (_, too_many), (_, packed) = painted(labels, actions)
    assert too_many["answer"] is None
    runs = np.array(kept["answer"]).reshape(-1, 3)
    assert (np.diff(runs[:, 0]) > 0).all()
    ((restored, told),) = painted(labels, [{"does": "place", "runs": kept["answer"]}])
    assert (restored == mask).all()
    assert told["unsaved"]
    again = list(painted(labels, [{"does": "become", "other": mask.ravel().tolist()}, {"does": "undo"}]))
    assert (again[0][0] == mask).all()
    assert (again[1][0] == labels).all()
    assert not again[1][1]["unsaved"]
    body = np.array(packed["answer"], "<u4").tobytes()
    assert (decode_labels(body, SHAPE, {1: "a", 2: "b"}) == mask).all()
