"""Correcting masks in the page: its strokes beside numpy's, and what survives a reload and a killed server."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from itertools import pairwise

import browser
import numpy as np
import psutil
import pytest
import viewer_walks
from scipy import ndimage
from small_runs import faults
from viewer_walks import differ, is_blank

import hilum
from hilum import cli
from hilum.outputs.corrections import read_corrections
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_luna16
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


# ---- the page in a browser


def screen_to_voxel(pane, plane, scan):
    """The voxel coordinates (z, y, x) of pixels of a pane: the scan's middle is in the middle of the pane.

    Of a scan on the patient's axes, as the phantom is: the patient's right is on the left, the head is on top.
    """
    across, down, through = {"axial": (2, 1, 0), "coronal": (2, 0, 1), "sagittal": (1, 0, 2)}[plane]
    ways = np.diag(scan.geometry.affine[[2, 1, 0]])  # of the world, along each axis
    found = []
    for place in pane["places"]:
        voxel = np.zeros(3)
        voxel[through] = pane["index"]
        for axis, at, size, head_up in (
            (across, place[0], pane["wide"], False),
            (down, place[1], pane["high"], down == 0),
        ):
            mm = (at - round(size) / 2) / pane["scale"] * (-1 if head_up else 1)
            voxel[axis] = (scan.ct.shape[axis] - 1) / 2 + mm / ways[axis]
        found.append(voxel)
    return found, through


def stroke(labels, pane, plane, scan, *, radius, label, only=None, ball=False):
    """What a stroke should make of a mask, and where rounding cannot decide."""
    points, through = screen_to_voxel(pane, plane, scan)
    through = None if ball else through
    expected, sure = labels.copy(), np.ones(labels.shape, bool)
    lines = list(pairwise(points)) or [(points[0], points[0])]
    for start, end in lines:
        distance = away(start, end, labels.shape, scan.ct.spacing, through)
        near = (distance <= radius) & (True if only is None else expected == only)
        expected[near] = label
        sure &= np.abs(distance - radius) > 1e-3
    return expected, sure


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with two scans, lungs, nodules and a label map."""
    folder = tmp_path_factory.mktemp("edited")
    phantoms = [make_phantom(seed=seed, shape=(40, 96, 96), spacing=(7.5, 4.0, 4.0)) for seed in (3, 4)]
    root = write_luna16(phantoms, folder / "in", flipped=())
    (folder / "labels").mkdir()
    for ct in root.rglob("*.mhd"):
        grid = hilum.read(ct).ct.geometry
        array = np.zeros(grid.shape, np.uint8)
        array[18:24, 40:50, 40:50], array[18:24, 40:50, 50:60] = 1, 2
        hilum.write(hilum.Mask(array, grid), folder / "labels" / f"{ct.stem}.nii.gz")
    (folder / "r.toml").write_text("[resample]\nspacing_mm = 3\n[nodules]\nmask = true\n")
    words = ["--recipe", str(folder / "r.toml"), "--labels", f"parts={folder / 'labels'}", "--workers", "1"]
    assert cli.main(["run", str(root), "--out", str(folder / "out"), *words]) == 0
    return folder / "out"


@pytest.fixture
def out(made, tmp_path):
    return shutil.copytree(made, tmp_path / "out")


def walked(path, pictures, actions, *, size=(1366, 768), hand="mouse", options=("--who", "Ada")):
    """The answers of the page to actions, and the pictures."""
    words = (*size, hand, json.dumps(actions))
    seen, shown = viewer_walks.walk("edit", path, pictures, *words, options=options)
    return seen["log"], shown


def browser_test(function):
    for mark in MARKS:
        function = mark(function)
    return function


@browser_test
@pytest.mark.parametrize(
    ("size", "hand"),
    [((1920, 1080), "mouse"), ((1366, 768), "mouse"), ((800, 1000), "touch"), ((400, 800), "touch")],
)
def test_strokes_in_every_plane_are_those_of_numpy(out, tmp_path, size, hand):
    scan = hilum.open_run(out)[0]
    lines = [("axial", [[0.4, 0.45], [0.5, 0.5], [0.52, 0.6]]), ("coronal", [[0.3, 0.4], [0.6, 0.42]]),
             ("sagittal", [[0.4, 0.5], [0.45, 0.55]])]  # fmt: skip
    small = size[0] <= 620
    actions = [["click", "#show-tools"]] if small else []
    actions += [["click", "#tools [data-tool=edit]"], ["value", "#radius", 8]]
    first = len(actions)
    actions += [["stroke", *line] for line in lines]
    actions += [["shot", None, "painted"], ["save"]]
    actions += [
        ["click", "#edit-eraser"],
        ["click", "#ball"],
        ["stroke", *lines[0]],
        ["save"],
        ["shot", None, "erased"],
    ]
    log, pictures = walked(out, tmp_path / "pictures", actions, size=size, hand=hand)
    labels, all_sure = scan.lungs.array, np.ones(scan.ct.shape, bool)
    for pane, (plane, _) in zip(log[first : first + 3], lines, strict=True):
        labels, sure = stroke(labels, pane, plane, scan, radius=8, label=1)
        all_sure &= sure
    painted = hilum.read_mask(out / read_corrections(out)[0].file).array
    assert (painted == labels)[all_sure].all()
    assert all_sure.mean() > 0.999
    assert (painted != scan.lungs.array).sum() > 100
    pane = log[first + 7]
    labels, sure = stroke(painted, pane, "axial", scan, radius=8, label=0, only=1, ball=True)
    erased = scan.corrected("lungs").array
    assert (erased == labels)[sure].all()
    assert (erased != painted).any(axis=(1, 2)).sum() > 3  # in several slices
    assert [(one.who, one.mask) for one in read_corrections(out)] == [("Ada", "lungs")] * 2
    assert log[first + 4] == "saved as Ada"
    assert not is_blank(pictures["painted"])
    assert differ(pictures["painted"], pictures["erased"]) > 0.001
    assert faults(out) == []


@browser_test
def test_masks_labels_fill_undo_and_redo(out, tmp_path):
    scan = hilum.open_run(out)[0]
    ring = [[0.5 + 0.08 * np.cos(a), 0.3 + 0.1 * np.sin(a)] for a in np.linspace(0, 2 * np.pi, 30)]
    inner = [[0.5, 0.3]]
    actions = [["key", "e"], ["options", "#edit-mask"], ["choose", "#edit-mask", "parts"], ["options", "#edit-label"],
               ["key", "Shift+L"], ["value", "#radius", 4], ["shot", "#axial", "before"], ["stroke", "axial", ring],
               ["key", "Shift+R"], ["stroke", "axial", inner], ["shot", "#axial", "filled"], ["text", "#unsaved"],
               ["save"],
               ["key", "Control+z"], ["key", "Control+z"], ["shot", "#axial", "undone"], ["save"],
               ["key", "Control+y"], ["key", "Control+Shift+Z"], ["shot", "#axial", "redone"], ["text", "#unsaved"],
               ["stroke", "axial", [[0.02, 0.02]]], ["text", "#edit-told"],
               ["choose", "#edit-mask", "nodules"], ["options", "#edit-label"], ["key", "Shift+B"], ["key", "Shift+D"],
               ["stroke", "axial", inner], ["save"], ["shot", None, "nodules"]]  # fmt: skip
    log, pictures = walked(out, tmp_path / "pictures", actions)
    assert log[1] == ["lungs", "nodules", "parts"]
    assert len(log[3]) == 2
    original = scan.read("labels/parts").array
    first, second, third = (hilum.read_mask(out / one.file).array for one in read_corrections(out))
    expected, sure = stroke(original, log[7], "axial", scan, radius=4, label=2)
    index = log[7]["index"]
    outline = expected[index] == 2
    filled = expected.copy()
    holes, _ = ndimage.label(expected[index] == 0)
    spot = np.floor(screen_to_voxel(log[9], "axial", scan)[0][0] + 0.5).astype(int)
    filled[index][holes == holes[tuple(spot[1:])]] = 2
    assert outline.sum() < (filled[index] == 2).sum()
    assert (first == filled)[sure].all()
    assert (second == original).all()  # both steps were taken back
    assert differ(pictures["before"], pictures["undone"]) < 0.01  # the brush ring is elsewhere
    assert differ(pictures["filled"], pictures["redone"]) < 0.01
    assert differ(pictures["before"], pictures["filled"]) > 0.01
    assert "unsaved: parts" in log[11]
    assert "unsaved: parts" in log[20]
    assert log[22].startswith("not filled: the region reaches the edge")
    assert log[24] == [f"nodule {k}" for k in range(1, len(scan.nodules) + 1)]
    nodules = scan.nodule_mask.array
    expected, sure = stroke(nodules, log[27], "axial", scan, radius=4, label=1, ball=True)
    assert (third == expected)[sure].all()
    assert [one.mask for one in read_corrections(out)] == ["labels/parts", "labels/parts", "nodules"]


@browser_test
def test_a_second_finger_takes_back_what_the_first_one_drew(out, tmp_path):
    actions = [["key", "e"], ["pinch", "axial"], ["hidden", "#unsaved"], ["stroke", "axial", [[0.5, 0.5]]],
               ["stroke", "axial", [[0.5, 0.5]]], ["hidden", "#coronal"]]  # fmt: skip
    log, _ = walked(out, tmp_path / "pictures", actions, size=(800, 1000), hand="touch")
    assert log[1] > 1.3  # it zoomed
    assert log[2] is True
    assert log[5] is False  # two taps draw twice, and maximize nothing


@browser_test
def test_unsaved_changes_survive_a_reload_and_a_killed_server(out, tmp_path):
    scan = hilum.open_run(out)[0]
    line = [[0.4, 0.45], [0.55, 0.5]]
    words = [sys.executable, "-m", "hilum.cli", "view", str(out), "--no-browser", "--who", "Ada"]
    with viewer_walks.served(out, "--who", "Ada") as address:
        pid, port = pid_of(address), address.split("/")[2].rpartition(":")[2]
        actions = [["key", "e"], ["stroke", "axial", line], ["text", "#unsaved"], ["reload"], ["text", "#drafts"],
                   ["shot", None, "offered"], ["hidden", "#unsaved"], ["key", "e"], ["stroke", "axial", line],
                   ["text", "#edit-told"], ["click", "#drafts button"], ["text", "#unsaved"],
                   ["stroke", "coronal", [[0.5, 0.5]]], ["kill", pid], ["save"], ["text", "#edit-told"],
                   ["shot", None, "killed"],
                   ["serve", *words, "--port", port], ["text", "#drafts"], ["click", "#drafts button"], ["save"],
                   ["reload"], ["hidden", "#drafts"], ["key", "e"], ["hidden", "#open-saved"],
                   ["click", "#open-saved"], ["until", "#edit-told", "is shown"], ["shot", "#axial", "saved"],
                   ["key", "Control+z"], ["text", "#unsaved"], ["reload"], ["text", "#drafts"],
                   ["click", "#drafts button:last-child"], ["hidden", "#drafts"], ["reload"],
                   ["hidden", "#drafts"]]  # fmt: skip
        words = (1366, 768, "mouse", json.dumps(actions))
        seen, _ = viewer_walks.drive("edit", address, tmp_path / "pictures", *words, expected="ERR_CONNECTION_REFUSED")
    log = seen["log"]
    assert "Unsaved changes of the lungs of " in log[4]
    assert log[6] is True  # nothing is restored before it is asked for
    assert log[9] == "first restore or discard the unsaved changes of this mask"
    assert "unsaved: lungs" in log[11]
    assert log[14].startswith("not saved: The server does not answer.")
    assert f"add --port {port}" in log[14]
    assert "Unsaved changes of the lungs of " in log[18]
    assert log[20] == "saved as Ada"
    assert (log[22], log[24]) == (True, False)
    expected, sure = stroke(scan.lungs.array, log[1], "axial", scan, radius=5, label=1)
    expected, also = stroke(expected, log[12], "coronal", scan, radius=5, label=1)
    assert (scan.corrected("lungs").array == expected)[sure & also].all()
    assert "unsaved: lungs" in log[29]
    assert "Unsaved changes" in log[31]
    assert (log[33], log[35]) == (True, True)
    assert len(read_corrections(out)) == 1
    assert faults(out) == []


@browser_test
def test_unsaved_changes_of_another_mask_are_refused_and_a_scan_alone_says_what_to_do(made, out, tmp_path):
    words = [sys.executable, "-m", "hilum.cli", "view", str(out), "--no-browser"]
    alone = [*words[:-2], str(next(made.parent.rglob("*.mhd"))), "--no-browser"]
    remake = ["run", str(made.parent / "in"), "--out", str(out), "--workers", "1", "--overwrite"]
    with viewer_walks.served(out) as address:
        port = address.split("/")[2].rpartition(":")[2]
        actions = [["key", "e"], ["stroke", "axial", [[0.4, 0.45], [0.55, 0.5]]], ["text", "#unsaved"],
                   ["kill", pid_of(address)], ["wait", sys.executable, "-m", "hilum.cli", *remake],
                   ["serve", *words, "--port", port], ["text", "#drafts"], ["hidden", "#drafts"],
                   ["shot", None, "refused"], ["click", "#drafts button"], ["hidden", "#drafts"],
                   ["serve", *alone], ["key", "e"], ["text", "#edit-refused"], ["hidden", "#edit-tools"],
                   ["shot", None, "alone"]]  # fmt: skip
        given = (1366, 768, "mouse", json.dumps(actions))
        seen = run_edit(address, tmp_path / "pictures", given)
    log = seen["log"]
    assert "unsaved: lungs" in log[2]
    assert "cannot be used: the run has replaced this mask since." in log[6]
    assert "Restore" not in log[6]
    assert log[10] is True
    assert log[13] == "A corrected mask is saved beside a run: make one with 'hilum run', then view its folder."
    assert log[14] is True
    assert read_corrections(out) == []


def run_edit(address, pictures, given):
    """What the page answered; the servers have several ports."""
    pictures.mkdir()
    command = ["node", "test/edit.mjs", browser.find(), address, str(pictures), *map(str, given)]
    done = subprocess.run(command, cwd=viewer_walks.WEB, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    asked = [url for url in seen["requests"] if not url.startswith(("data:", "blob:", "http://127.0.0.1:"))]
    assert (asked, seen["errors"]) == ([], [])
    return seen


def pid_of(address):
    """The process that listens at an address."""
    port = int(address.split("/")[2].rpartition(":")[2])
    (pid,) = {one.pid for one in psutil.net_connections("tcp4") if one.laddr.port == port and one.status == "LISTEN"}
    return pid
