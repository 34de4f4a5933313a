"""The pixels of the viewer's planes, drawn by its code in node, beside those that numpy draws."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

WEB = Path(__file__).parents[1] / "viewer/web"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (WEB / "node_modules/esbuild").is_dir(),
    reason="the page's tools are not installed: python3 dev.py page, where node is",
)

STEPS = {  # the world's way (x, y, z) of one voxel along each axis, and each plane's axes (down, across, through)
    "supine": ([[0, 0, 1], [0, 1, 0], [1, 0, 0]], {"axial": (1, 2, 0), "coronal": (0, 2, 1), "sagittal": (0, 1, 2)}),
    "mirrored": (
        [[0, 0, -1], [0, -1, 0], [-1, 0, 0]],
        {"axial": (1, 2, 0), "coronal": (0, 2, 1), "sagittal": (0, 1, 2)},
    ),
    "permuted": ([[1, 0, 0], [0, 0, -1], [0, 1, 0]], {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (1, 2, 0)}),
}
COLORS = {1: (86, 180, 233), 2: (230, 159, 0)}


def oriented(array, steps, axes):
    """A slice's voxels as they are shown: the head or the front on top, the patient's right or front on the left."""
    down, across, through = axes
    plane = np.transpose(array, (down, across, through))[..., 0]
    for out, axis in enumerate((down, across)):
        (world,) = np.flatnonzero(steps[axis])
        reverse = steps[axis][world] > 0 if world == 2 else steps[axis][world] < 0
        plane = np.flip(plane, out) if reverse else plane
    return plane


def rounded(values):
    """Round halves up, as the gray levels of the page are."""
    return np.floor(values + 0.5)


def oracle(case, ct, overlays, steps, axes):
    """The RGB that the case should give."""
    at = [slice(None)] * 3
    at[axes[2]] = slice(case["index"], case["index"] + 1)
    shown = oriented(ct[tuple(at)], steps, axes).astype(np.float64)
    every = [max(1, n // pixels) for n, pixels in zip(shown.shape, case["size"], strict=True)]
    picked = [np.arange(n) * k + k // 2 for n, k in zip(case["size"], every, strict=True)]
    low, width = case["window"][0] - case["window"][1] / 2, case["window"][1]
    gray = rounded(np.clip((shown[np.ix_(*picked)] - low) / width, 0, 1) * 255)
    bare = picture = np.repeat(gray[..., None], 3, -1)
    for labels, covers in overlays:
        marked = oriented(labels[tuple(at)], steps, axes)[np.ix_(*picked)]
        under = bare if covers else picture
        for value, color in COLORS.items():
            mixed = np.rint(under + (np.array(color) - under) * case["opacity"])
            picture = np.where((marked == value)[..., None], mixed, picture)
    return picture


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(5)
    made = []
    for steps, planes in STEPS.values():
        for plane, axes in planes.items():
            for number, every in enumerate((1, 2, 3, 7)):
                shape = (23, 17, 19)
                ct = rng.integers(-1200, 800, shape).astype(np.int16 if number % 2 else np.float32)
                overlays, sent = [], []
                for covers in (False, True, False):
                    start = rng.integers(0, 9, 3)
                    box = rng.integers(0, 4, rng.integers(3, 9, 3)).astype(np.uint8)
                    labels = np.zeros(shape, np.uint8)
                    labels[tuple(slice(s, s + n) for s, n in zip(start, box.shape, strict=True))] = box
                    overlays.append((labels, covers))
                    mask = {"shape": box.shape, "values": box.ravel().tolist()}
                    sent.append({"mask": mask, "start": start.tolist(), "covers": covers, "colors": COLORS})
                values = {"type": ct.dtype.name, "shape": shape, "step": steps, "values": ct.ravel().tolist()}
                case = {"ct": values, "plane": plane, "index": 8, "window": (-600, 1500), "opacity": 0.35,
                        "size": [shape[a] // every for a in axes[:2]], "overlays": sent}  # fmt: skip
                made.append((case, oracle(case, ct, overlays, steps, axes)))
    return made


def drawn(cases):
    words = ["node", "test/slices.mjs"]
    done = subprocess.run(words, cwd=WEB, input=json.dumps(cases), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pictures = [
        np.array(one, np.uint8).reshape(*case["size"], 4)
        for one, case in zip(json.loads(done.stdout), cases, strict=True)
    ]
    assert all((one[..., 3] == 255).all() for one in pictures)
    return [one[..., :3] for one in pictures]


def test_pixels_are_those_of_numpy(cases):
    for picture, (case, wanted) in zip(drawn([case for case, _ in cases]), cases, strict=True):
        assert np.abs(picture - wanted).max() <= 1, (case["plane"], case["size"])  # mixing rounds halves to even


def test_a_box_elsewhere_gives_other_pixels(cases):
    """The comparison would see a box that lies one voxel beside its place."""
    case, wanted = cases[0]
    moved = [{**one, "start": [one["start"][0], one["start"][1] + 1, one["start"][2]]} for one in case["overlays"]]
    (picture,) = drawn([{**case, "overlays": moved}])
    assert np.abs(picture - wanted).max() > 20
