"""The page of `hilum view` in a browser: what is drawn, told and kept, and that nothing leaves the machine."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import nibabel
import numpy as np
import pytest
from browser import browser, find
from matplotlib import image

import hilum
from hilum import cli
from hilum.outputs.checksums import RERUN
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_luna16

BUILT = Path(hilum.__file__).parent / "viewer" / "page" / "viewer.js"

pytestmark = [
    pytest.mark.usefixtures("no_workers"),
    pytest.mark.skipif(find() is None, reason="no Chromium here (Debian: apt-get install chromium)"),
    pytest.mark.skipif(not BUILT.is_file(), reason="the page is not built (python3 dev.py page; needs node)"),
]

WIDE, HIGH = 1366, 768
RIGHT, LEFT, RING = (86, 180, 233), (230, 159, 0), (240, 228, 66)
PLANES = {"axial": (2, 1, 0), "coronal": (2, 0, 1), "sagittal": (1, 0, 2)}
"""Array axes (z 0, y 1, x 2) across, down and through the screen, for a grid along the patient's axes."""


# ---- what is looked at


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three phantoms in LUNA16's clothes: two are done, of one the voxels are cut short."""
    place = tmp_path_factory.mktemp("viewer")
    phantoms = [make_phantom(seed=seed, shape=(60, 128, 128), spacing=(5.0, 3.0, 3.0)) for seed in (3, 4, 5)]
    root = write_luna16(phantoms, place / "luna", flipped=())
    (broken,) = root.rglob(f"{phantoms[2].scan.series_uid}.raw")
    broken.write_bytes(broken.read_bytes()[:1000])
    (place / "mine.toml").write_text(MINE)
    words = ["run", str(root), "--out", str(place / "out"), "--recipe", str(place / "mine.toml"), "--workers", "1"]
    assert cli.main(words) == 1
    return place / "out"


MINE = """
name = "small"
[resample]
spacing_mm = 2.5
[nodules]
mask = true
"""


@contextmanager
def served(path, *options):
    """The address that `hilum view` prints for a path, while it runs."""
    words = [sys.executable, "-m", "hilum.cli", "view", str(path), "--no-browser", *map(str, options)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            told = ""
            while not (found := re.search(r"http://127\.0\.0\.1:\d+/\S+", told)):
                line = process.stdout.readline()
                assert line, f"hilum view ended: {told}"
                told += line
            yield found[0], process
        finally:
            process.terminate()
            process.wait(120)


class Viewer:
    """The page, and the questions that the tests ask it."""

    def __init__(self, page, address):
        self.page, self.address = page, address
        page.call("Emulation.setDeviceMetricsOverride", width=WIDE, height=HIGH, deviceScaleFactor=1, mobile=False)
        self.open()

    def open(self):
        self.page.open(self.address)
        self.wait("document.getElementById('at-crosshair').textContent !== ''")

    def wait(self, condition, seconds=120):
        until = time.monotonic() + seconds
        while not self.page.run(condition):
            assert time.monotonic() < until, f"never came: {condition}; {self.text('trouble')}"
            time.sleep(0.05)

    def settle(self):
        """Two frames: what was asked for is drawn."""
        self.page.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def click(self, selector):
        self.page.run(f"document.querySelector({selector!r}).click()")
        self.settle()

    def key(self, key):
        self.page.press(key)
        self.settle()

    def text(self, name):
        return self.page.run(f"document.getElementById('{name}').textContent")

    def texts(self, selector):
        return self.page.run(f"[...document.querySelectorAll({selector!r})].map(one => one.textContent)")

    def choose(self, name, value, event="change"):
        script = f"const one = document.getElementById('{name}'); one.value = {value!r}"
        self.page.run(f"{{{script}; one.dispatchEvent(new Event('{event}'))}}")
        self.settle()

    def box(self, name):
        script = "const b = document.querySelector('#{}').getBoundingClientRect(); [b.x, b.y, b.width, b.height]"
        return self.page.run(f"{{{script.format(name)}}}")

    def picture(self, name):
        """What the user sees of a pane, uint8 (rows, columns, 3)."""
        x, y, width, height = (round(one) for one in self.box(f"{name} canvas"))
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        shot = base64.b64decode(self.page.call("Page.captureScreenshot", clip=clip)["data"])
        return np.rint(image.imread(io.BytesIO(shot))[..., :3] * 255).astype(np.uint8)

    def bare(self):
        """Nothing over the gray values, and voxels as they are."""
        for key in "lrxi":
            self.key(key)

    def crosshair(self):
        return tuple(int(n) for n in self.page.run("document.getElementById('at-crosshair').dataset.voxel").split(","))

    def reading(self):
        return float(re.search(r"(-?\d+) HU", self.text("at-crosshair"))[1])

    def is_quiet(self):
        """Nothing was asked of another host, and the console has no complaint but of the software renderer's speed."""
        host = self.address.split("/")[2]
        asked = [url for url in self.page.requests() if not url.startswith(("data:", "blob:"))]
        assert asked
        assert [url for url in asked if not url.startswith(f"http://{host}/")] == []
        said = [one for one in self.page.complaints() if not _of_renderer(one.get("entry", {}))]
        assert said == []


def _of_renderer(entry):
    return entry.get("source") == "rendering" and entry.get("level") == "warning"


@pytest.fixture(scope="module")
def viewer(run):
    served_run = served(run, "--original", run.parent / "luna")
    with served_run as (address, _), browser(width=WIDE, height=HIGH) as page:
        yield Viewer(page, address)


@pytest.fixture
def fresh(viewer):
    """The page as it opens, with its masks; and it was quiet when the test is over."""
    viewer.open()
    viewer.wait("performance.getEntriesByName('hilum:masks').length > 0")
    viewer.settle()
    yield viewer
    viewer.is_quiet()


def drawn(viewer):
    viewer.wait("document.getElementById('render').dataset.state !== 'working' && "
                "document.getElementById('render').dataset.state !== 'waiting'")  # fmt: skip
    viewer.settle()
    return viewer.page.run("document.getElementById('render').dataset.state") == "drawn"


def is_lively(picture):
    """Whether a picture has something in it: many colors, none of them nearly everywhere."""
    colors, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    return len(colors) > 50 and counts.max() < 0.97 * counts.sum()


def is_dark_around(picture):
    """Whether what is around the chest is black: the strips at its sides, and a good part of all."""
    strips = (picture[60:-60, :20], picture[60:-60, -20:], picture[60:90, :40], picture[-20:, 100:])
    return all(part.max() < 30 for part in strips) and (picture.max(axis=-1) < 30).mean() > 0.3


def colored(picture, color, near=24):
    return (np.abs(picture.astype(int) - color) <= near).all(axis=-1)


def stored(run, number=0):
    """The record and the volume of a finished scan, in the order of their names; the voxels as nibabel reads them."""
    folder = sorted((run / "scans").iterdir())[number]
    record = json.loads((folder / "scan.json").read_text())
    array = np.asarray(nibabel.load(folder / "ct.nii.gz").dataobj).transpose()
    return record, hilum.Volume(array, hilum.read(folder / "ct.nii.gz").ct.geometry)


def on_screen(shape, spacing, plane, width, height):
    """Of a plane: its scale, and where the middle of a voxel (z, y, x) is; x and y run right and down, z runs up."""
    across, down, _ = PLANES[plane]
    scale = min(width / (shape[across] * spacing[across]), height / (shape[down] * spacing[down]))

    def place(voxel):
        middle = [(n - 1) / 2 for n in shape]
        x = (voxel[across] - middle[across]) * spacing[across] * scale
        y = (voxel[down] - middle[down]) * spacing[down] * scale * (-1 if down == 0 else 1)
        return width / 2 + x, height / 2 + y

    return scale, place


# ---- the statistic, and what it must not call lively


def test_an_empty_picture_is_not_lively():
    black = np.zeros((80, 90, 3), np.uint8)
    corner = black.copy()
    corner[:5, :5] = np.random.default_rng(0).integers(0, 255, (5, 5, 3))
    assert not is_lively(black)
    assert not is_lively(np.full_like(black, 137))
    assert not is_lively(corner)
    assert is_lively(np.random.default_rng(0).integers(0, 255, black.shape).astype(np.uint8))


def test_a_gray_box_is_not_dark_around():
    box = np.zeros((350, 440, 3), np.uint8)
    box[150:250, 180:260] = 200
    assert is_dark_around(box)
    box[50:300, 10:430] = 60
    assert not is_dark_around(box)


# ---- a run


def test_planes_and_render_show_something(fresh):
    for pane in PLANES:
        assert is_lively(fresh.picture(pane)), pane
    for scene in ("surfaces", "bones", "vessels"):
        fresh.choose("scene", scene)
        assert drawn(fresh), fresh.text("render-message")
        assert is_lively(fresh.picture("render")), scene


def test_the_room_is_no_box_in_the_render(fresh):
    drawn(fresh)
    fresh.choose("scene", "bones")
    assert drawn(fresh)
    picture = fresh.picture("render")
    assert is_lively(picture)
    assert is_dark_around(picture)


@pytest.mark.parametrize("plane", PLANES)
def test_every_voxel_stands_where_it_is_with_its_gray(fresh, run, plane):
    _, ct = stored(run)
    shape, spacing = ct.geometry.shape, ct.geometry.spacing
    fresh.bare()
    picture = fresh.picture(plane)
    height, width = picture.shape[:2]
    scale, place = on_screen(shape, spacing, plane, width, height)
    across, down, through = PLANES[plane]
    at = fresh.crosshair()
    random = np.random.default_rng(1)
    seen, wanted = [], []
    for _ in range(400):
        voxel = [int(random.integers(n)) for n in shape]
        voxel[through] = at[through]
        x, y = place(voxel)
        if not (12 < x < width - 12 and 40 < y < height - 30) or abs(x - width / 2) < 20 or abs(y - height / 2) < 20:
            continue  # letters are there
        seen.append(picture[int(y), int(x)])
        wanted.append(np.clip((float(ct.array[tuple(voxel)]) + 1350.0) / 1500.0, 0, 1) * 255)
    assert len(seen) > 150
    assert scale > 0.5
    assert np.ptp(np.array(seen), axis=1).max() == 0  # gray
    assert np.abs(np.array(seen)[:, 0] - wanted).max() <= 1
    assert np.std(wanted) > 30
    assert np.abs(np.array(seen)[:, 0] - np.roll(wanted, 1)).max() > 50  # the comparison can fail
    assert (across, down) != (down, across)


def test_windows_change_the_picture(fresh):
    pictures = {}
    for key, name in zip("12345", ("lung", "mediastinum", "bone", "soft-tissue", "full"), strict=True):
        fresh.key(key)
        pictures[name] = fresh.picture("axial")
        shown = fresh.text("window")
        if name != "full":
            preset = hilum.WINDOW_PRESETS[name]
            assert shown == f"C {preset.center:.0f}  W {preset.width:.0f}"
            assert fresh.page.run(f"document.querySelector('[data-preset={name}]').ariaPressed") == "true"
    names = list(pictures)
    for one, other in itertools.pairwise(names):
        assert (pictures[one] != pictures[other]).mean() > 0.1, (one, other)
    fresh.key("1")
    assert (fresh.picture("axial") == pictures["lung"]).all()


def test_a_drag_sets_the_window(fresh):
    x, y, *_ = fresh.box("axial")
    before = fresh.crosshair()
    fresh.key("w")
    fresh.page.drag((x + 100, y + 100), (x + 150, y + 120))
    fresh.settle()
    center, width = (int(n) for n in re.findall(r"-?\d+", fresh.text("window")))
    assert width > 1500
    assert center > -600
    assert fresh.crosshair() == before
    fresh.key("c")
    fresh.page.drag((x + 100, y + 100), (x + 100, y + 60), button="right")
    fresh.settle()
    assert int(re.findall(r"-?\d+", fresh.text("window"))[0]) < center


def test_clicking_a_nodule_moves_the_crosshair_to_its_voxel(fresh, run):
    record, ct = stored(run)
    assert len(record["nodules"]) == 5
    for number, nodule in enumerate(record["nodules"], 1):
        fresh.click(f"#nodules li:nth-child({number})")
        voxel = tuple(round(v) for v in nodule["voxel"])
        assert fresh.crosshair() == voxel
        assert fresh.reading() == round(float(ct.array[voxel]))
        world = [float(n) for n in fresh.page.run("document.getElementById('at-crosshair').dataset.world").split(",")]
        np.testing.assert_allclose(world, nodule["world"], atol=1e-6)
        shown = fresh.texts("#nodules li")[number - 1]
        assert f"{nodule['diameter_mm']:.1f} mm" in shown
        assert f"{round(100 * nodule['inside_lungs'])} % inside the lungs" in shown
    solid = max(record["nodules"], key=lambda one: one["mean_hu"])
    fresh.click(f"#nodules li[data-label='{solid['label']}']")
    assert fresh.reading() > -300
    fresh.key("]")
    assert fresh.page.run("document.querySelectorAll('#nodules [aria-current=true]').length") == 1


def test_rings_have_the_nodules_size(fresh, run):
    record, ct = stored(run)
    nodule = max(record["nodules"], key=lambda one: one["diameter_mm"])
    fresh.click(f"#nodules li[data-label='{nodule['label']}']")
    fresh.key("l")
    fresh.key("x")
    for plane in PLANES:
        picture = fresh.picture(plane)
        height, width = picture.shape[:2]
        scale, place = on_screen(ct.geometry.shape, ct.geometry.spacing, plane, width, height)
        x, y = place(nodule["voxel"])
        fresh.key("r")
        without = fresh.picture(plane)
        fresh.key("r")
        rows, columns = np.nonzero((picture != without).any(axis=-1) & colored(picture, RING, 110))
        close = np.hypot(rows + 0.5 - y, columns + 0.5 - x) < nodule["diameter_mm"] * scale
        rows, columns = rows[close], columns[close]
        # The line is two pixels wide: half of it lies outside the circle on either side.
        for found in (np.ptp(rows) + 1 - 2, np.ptp(columns) + 1 - 2):
            assert abs(found - nodule["diameter_mm"] * scale) <= 1.5, plane
        assert abs(np.mean([rows.min(), rows.max()]) + 0.5 - y) < 1
        assert abs(np.mean([columns.min(), columns.max()]) + 0.5 - x) < 1


def test_the_masks_come_and_go(fresh):
    shown = fresh.picture("axial")
    fresh.click("#mask")
    hidden = fresh.picture("axial")
    fresh.click("#mask")
    again = fresh.picture("axial")
    assert (shown != hidden).any(axis=-1).mean() > 0.05
    assert (shown == again).all()
    fresh.choose("opacity", "100", "input")
    assert colored(fresh.picture("axial"), RIGHT).mean() > colored(shown, RIGHT).mean() + 0.02


def test_the_patients_right_is_on_the_viewers_left(fresh):
    fresh.choose("opacity", "100", "input")
    fresh.key("r")
    for plane in ("axial", "coronal"):
        picture = fresh.picture(plane)
        right, left = (np.nonzero(colored(picture, color))[1] for color in (RIGHT, LEFT))
        assert min(right.size, left.size) > 500
        assert right.mean() < picture.shape[1] / 2 < left.mean()
    # The spine is behind, which is down: in the sagittal plane it is to the right.
    assert fresh.text("axial") == ""  # letters are drawn, not typed


def test_the_wheel_and_the_keys_go_through_the_slices(fresh):
    x, y, width, height = fresh.box("axial")
    z, *rest = fresh.crosshair()
    fresh.page.mouse("mouseMoved", x + width / 2, y + height / 2)
    fresh.page.mouse("mouseWheel", x + width / 2, y + height / 2, deltaX=0, deltaY=100)
    fresh.settle()
    assert fresh.crosshair() == (z - 1, *rest)  # down is towards the feet
    fresh.key("ArrowUp")
    fresh.key("ArrowUp")
    assert fresh.crosshair() == (z + 1, *rest)
    fresh.key("PageDown")
    assert fresh.crosshair() == (z - 9, *rest)
    assert re.search(r"-?\d+ HU", fresh.text("at-pointer"))


def test_the_list_sorts_and_searches(fresh, run):
    names = [row["id"] for row in map(json.loads, (run / "ledger.jsonl").read_text().splitlines())]
    shown = "#scans .name"
    assert fresh.texts(shown) == sorted(names)
    fresh.click("#order")
    assert fresh.texts(shown) == sorted(names, reverse=True)
    fresh.choose("sort", "status")
    fresh.click("#order")
    assert [one.split(" ")[0] for one in fresh.texts("#scans p:nth-of-type(3)")][-1] == "refused"
    fresh.choose("search", "refused", "input")
    assert fresh.text("count") == "1 of 3 scans"
    assert len(fresh.texts(shown)) == 1
    fresh.choose("search", "nothing-like-this", "input")
    assert fresh.texts(shown) == []


def test_next_and_previous_by_keyboard(fresh, run):
    first = fresh.page.run("document.querySelector('#scans [aria-current=true]').dataset.id")
    fresh.key("n")
    fresh.wait(f"document.querySelector('#scans [aria-current=true]').dataset.id !== '{first}'")
    fresh.wait("document.getElementById('at-crosshair').textContent !== ''")
    fresh.key("p")
    fresh.wait(f"document.querySelector('#scans [aria-current=true]').dataset.id === '{first}'")
    fresh.wait("document.getElementById('at-crosshair').textContent !== ''")
    refused = fresh.page.run("[...document.querySelectorAll('#scans .bad')][0].closest('li').dataset.id")
    fresh.click(f"#scans [data-id='{refused}']")
    fresh.wait("!document.getElementById('trouble').hidden")
    assert "refused" in fresh.text("trouble")
    assert run.is_dir()


def test_a_review_is_saved_and_read_back(fresh, run):
    name = fresh.texts("#scans [aria-current=true] .name")[0]
    comment = '=1+1, "sharp" <b>kernel</b>'
    fresh.choose("comment", comment, "input")
    fresh.key("a")
    fresh.wait("document.getElementById('saved').textContent === 'saved'")
    fresh.open()
    assert fresh.page.run("document.getElementById('accept').ariaPressed") == "true"
    assert fresh.page.run("document.getElementById('comment').value") == comment
    assert "accepted" in fresh.texts("#scans [aria-current=true]")[0]
    with (run / "review.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["scan_id"]: row for row in csv.DictReader(file)}
    assert rows[name]["verdict"] == "accept"
    assert not rows[name]["comment"].startswith("=")
    fresh.key("d")
    fresh.wait("document.getElementById('reject').ariaPressed === 'true'")
    fresh.key("d")
    fresh.wait("document.getElementById('reject').ariaPressed === 'false'")
    fresh.open()
    assert fresh.page.run("document.getElementById('accept').ariaPressed") == "false"


def test_before_and_after_are_beside_each_other(fresh):
    fresh.click("#nodules li")
    fresh.key("b")
    fresh.wait("document.getElementById('loading').hidden && !document.getElementById('axial-beside').hidden")
    fresh.wait("document.querySelector('#axial-beside canvas').dataset.scale !== undefined")
    fresh.bare()
    after, before = fresh.picture("axial"), fresh.picture("axial-beside")
    assert after.shape == before.shape
    assert is_lively(before)
    one, other = (picture[45:-45, 20:-20, 0].astype(float) for picture in (after, before))

    def alike(second):
        return np.corrcoef(one[8:-8, 8:-8].ravel(), second[8:-8, 8:-8].ravel())[0, 1]

    # The same place of the same patient: neither mirrored nor moved is it as much alike.
    others = [other[:, ::-1], *(np.roll(other, by, axis) for by in (-3, 3) for axis in (0, 1))]
    assert alike(other) > 0.9
    assert all(alike(other) > alike(wrong) for wrong in others)
    fresh.key("b")
    assert fresh.page.run("document.getElementById('axial-beside').hidden")


def test_the_recipe_and_the_keys_are_shown(fresh, run):
    assert fresh.text("recipe-text") == (run / "recipe.toml").read_text()
    fresh.key("?")
    assert fresh.page.run("document.getElementById('help').open")
    assert len(fresh.texts("#key-list dt")) > 15
    fresh.click("#close")
    assert not fresh.page.run("document.getElementById('help').open")


def test_a_screenshot_is_a_png_of_the_panes(fresh, tmp_path):
    assert drawn(fresh)
    fresh.page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    fresh.click("#shot")
    until = time.monotonic() + 120
    while not (made := list(tmp_path.glob("*.png"))):
        assert time.monotonic() < until
        time.sleep(0.1)
    picture = np.rint(image.imread(made[0])[..., :3] * 255).astype(np.uint8)
    _, _, width, height = fresh.box("panes")
    assert picture.shape[:2] == (round(height), round(width))
    for part in (picture[: int(height / 2) - 4], picture[int(height / 2) + 40 :, int(width / 2) + 4 :]):
        assert is_lively(part)


def test_nothing_jumps_while_it_loads(fresh):
    assert drawn(fresh)
    moved = fresh.page.run(
        "new Promise(done => { let sum = 0; new PerformanceObserver(list => { for (const one of list.getEntries()) "
        "sum += one.value; }).observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(sum), 200) })"
    )
    assert moved < 0.02


def test_a_big_scan_shows_how_far_it_is(fresh):
    slow = {"offline": False, "latency": 0, "downloadThroughput": 1_000_000, "uploadThroughput": 1_000_000}
    fresh.page.call("Network.emulateNetworkConditions", **slow)
    try:
        fresh.page.call("Page.reload")
        bar = "document.getElementById('progress').value"
        fresh.wait(f"document.getElementById('loading')?.hidden === false && {bar} > 0.05 && {bar} < 1")
        assert re.fullmatch(r"loading \d+ MB", fresh.text("loading-text"))
    finally:
        fast = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        fresh.page.call("Network.emulateNetworkConditions", **fast)
    fresh.wait("document.getElementById('loading').hidden")


# ---- one scan, on an oblique grid


@pytest.fixture(scope="module")
def oblique(tmp_path_factory):
    """A phantom on a grid that is turned by 20 degrees about x, with voxels of 6 x 2 x 3 mm, axes in no usual order."""
    angle = np.deg2rad(20.0)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    down, through = (0.0, cos, sin), (0.0, -sin, cos)
    grid = hilum.Geometry((40, 100, 90), (6.0, 2.0, 3.0), (150.0, -80.0, -100.0), (through, down, (-1.0, 0.0, 0.0)))
    path = tmp_path_factory.mktemp("oblique") / "oblique.nii.gz"
    hilum.write(make_phantom(seed=6, geometry=grid).scan.ct, path)
    return path


def test_a_measure_on_an_oblique_grid_is_right_in_mm(oblique):
    ct = hilum.read(oblique).ct
    with served(oblique) as (address, _), browser(width=WIDE, height=HIGH) as page:
        viewer = Viewer(page, address)
        assert viewer.page.run("document.getElementById('run').hidden")
        viewer.key("m")
        for plane in PLANES:
            x, y, width, height = viewer.box(plane)
            start, end = (x + width / 2 - 70, y + height / 2 - 50), (x + width / 2 + 40, y + height / 2 + 40)
            places = []
            for at in (start, end):
                viewer.page.mouse("mouseMoved", *at)
                viewer.settle()
                told = viewer.text("at-pointer")
                voxel = tuple(int(n) for n in re.search(r"voxel \((\d+), (\d+), (\d+)\)", told).groups())
                world = [float(n) for n in re.search(r"x (\S+)  y (\S+)  z (\S+) mm", told).groups()]
                assert float(re.search(r"(-?\d+) HU", told)[1]) == round(float(ct.array[voxel]))
                assert np.abs(ct.geometry.world_to_index(world) - voxel).max() <= 0.55
                places.append(world)
            viewer.page.drag(start, end)
            viewer.settle()
            length = float(viewer.text("measured").split(" ")[0])
            assert length == pytest.approx(np.linalg.norm(np.subtract(*places)), abs=0.2)
            # On the screen a millimeter is as long across as it is down, whatever the voxels are.
            scale = float(viewer.page.run(f"document.querySelector('#{plane} canvas').dataset.scale"))
            assert length == pytest.approx(np.hypot(110, 90) / scale, abs=0.2)
        viewer.key("Backspace")
        assert viewer.text("measured") != ""
        viewer.is_quiet()


# ---- how the browser gets there


def test_the_private_file_leads_into_the_viewer_and_a_second_tab_and_a_reload_work(run, tmp_path, monkeypatch):
    (tmp_path / "told.py").write_text("import os, sys; open(os.environ['TOLD'], 'w').write(sys.argv[1])")
    os.mkfifo(tmp_path / "told")
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    monkeypatch.setenv("BROWSER", f"{sys.executable} {tmp_path / 'told.py'} %s")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    words = [sys.executable, "-m", "hilum.cli", "view", str(run)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            printed = process.stdout.readline().strip()
            file = Path(url2pathname(urlsplit((tmp_path / "told").read_text()).path))
            with browser(width=WIDE, height=HIGH) as page:
                page.open(file)
                here = page.run("location.href")
                assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[A-Za-z0-9_-]{22}/", here)
                viewer = Viewer(page, here)
                page.call("Page.reload")
                page.wait("Page.loadEventFired")
                viewer.wait("document.getElementById('at-crosshair')?.textContent")
                page.open(printed)  # its own code
                assert page.run("location.href") == here
                viewer.is_quiet()
            assert not file.parent.exists()
            with browser() as other:
                other.open(here)
                assert "Open the newest address" in other.run("document.body.textContent")
                other.open(printed)
                assert "Open the newest address" in other.run("document.body.textContent")
        finally:
            process.terminate()
            process.wait(120)


# ---- what may go wrong


def test_without_webgl2_the_planes_stand_and_the_pane_says_why(run):
    with served(run) as (address, _), browser(width=WIDE, height=HIGH, flags=("--disable-3d-apis",)) as page:
        viewer = Viewer(page, address)
        assert not drawn(viewer)
        assert "no WebGL2" in viewer.text("render-message")
        assert is_lively(viewer.picture("axial"))
        viewer.is_quiet()


def test_a_swapped_scan_is_not_shown_and_one_that_nothing_vouches_for_has_a_word(run, tmp_path):
    shutil.copytree(run, tmp_path / "out")
    first, second = sorted(os.listdir(run / "scans"))
    ct, ledger = tmp_path / "out" / "scans" / first / "ct.nii.gz", tmp_path / "out" / "ledger.jsonl"
    size = ct.stat().st_size
    ct.write_bytes((run / "scans" / second / "ct.nii.gz").read_bytes()[:size].ljust(size, b"\0"))
    rows = [row for row in ledger.read_text().splitlines(keepends=True) if second not in row]
    ledger.write_text("".join(rows))
    with served(tmp_path / "out") as (address, _), browser(width=WIDE, height=HIGH) as page:
        page.call("Emulation.setDeviceMetricsOverride", width=WIDE, height=HIGH, deviceScaleFactor=1, mobile=False)
        page.open(address)
        told = f"{first}: scans/{first}/ct.nii.gz: does not match its checksum; {RERUN}"
        assert page.until("document.getElementById('trouble').textContent", told) == told
        assert page.run("document.getElementById('at-crosshair').textContent") == ""
        assert page.run("document.getElementById('doubt').hidden")
        page.press("n")
        doubt = "Not checked: the ledger does not list this scan. This may not be what the run wrote."
        assert page.until("document.getElementById('doubt').textContent", doubt) == doubt
        assert page.until("document.getElementById('at-crosshair').textContent !== ''", want=True)
        assert page.run("document.getElementById('doubt').checkVisibility()")


def test_a_server_that_is_gone_is_said(run):
    with served(run) as (address, process), browser(width=WIDE, height=HIGH) as page:
        viewer = Viewer(page, address)
        process.terminate()
        process.wait(120)
        viewer.key("n")
        viewer.wait("!document.getElementById('trouble').hidden")
        assert "hilum view" in viewer.text("trouble")
        viewer.key("a")
        viewer.wait("document.getElementById('saved').textContent.startsWith('not saved')")


def test_without_scikit_image_the_page_says_so_and_shows_the_rest(run, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['skimage'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with served(run) as (address, _), browser(width=WIDE, height=HIGH) as page:
        viewer = Viewer(page, address)
        viewer.open()
        viewer.settle()
        assert not drawn(viewer)
        assert "surfaces need scikit-image; pip install 'hilum[viewer]'" in viewer.text("render-message")
        assert viewer.picture("axial").std() > 10
