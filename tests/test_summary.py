"""What a notebook shows of a volume, a mask, a scan: true pictures, true facts, small, escaped, and never an error."""

from __future__ import annotations

import base64
import io
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_runs import write_small

import hilum
from hilum.cli import main
from hilum.ops.labels.overlay import COLORS as LABEL_COLORS
from hilum.ops.preview_slices import COLORS
from hilum.phantom import make_phantom
from hilum.scan import LabelMap, Note
from hilum.testing import geometries

BLUE, ORANGE, _, YELLOW = COLORS
LIMIT = 200_000  # bytes
TURN = np.deg2rad(20)
OBLIQUE = ((0.0, -np.sin(TURN), np.cos(TURN)), (0.0, np.cos(TURN), np.sin(TURN)), (1.0, 0.0, 0.0))


class Page(HTMLParser):
    """The rows of a summary, its picture, and every tag; fails where tags are not nested."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.rows, self.images, self.words = [], set(), {}, [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in {"img", "br"}:
            self.open.append(tag)
        if tag == "tr":
            self.cells = []
        if tag in {"th", "td"}:
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "tr":
            name, value = self.cells
            self.rows[name] = value

    def handle_data(self, data):
        self.words.append(data)
        if {"th", "td"} & set(self.open):
            self.cells[-1] += data

    @property
    def picture(self):
        kind, data = self.images[0]["src"].split(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            return np.asarray(image.convert("RGB")).astype(int)


def page_of(thing):
    text = thing._repr_html_()
    assert len(text.encode()) < LIMIT
    page = Page(text)
    assert page.tags <= {"div", "strong", "img", "table", "tr", "th", "td", "br", "span"}
    return page


def has(picture, color):
    return (picture == color).all(axis=-1)


@pytest.fixture(scope="module")
def scan():
    phantom = make_phantom(seed=3, shape=(60, 96, 96), spacing=(5.0, 4.0, 4.0))
    return replace(phantom.scan, lungs=phantom.lungs, annotated=True)


def test_a_scan_shows_its_slices_its_grid_and_what_is_known_of_it(scan):
    page = page_of(scan)
    right, left = (scan.lungs.volume_ml(label) for label in (1, 2))
    assert page.rows["series"] == scan.series_uid
    assert page.rows["shape (z, y, x)"] == "60 \u00d7 96 \u00d7 96, int16, 1.11 MB"
    assert page.rows["spacing (z, y, x)"] == "5 \u00d7 4 \u00d7 4 mm; in all 300 \u00d7 384 \u00d7 384 mm"
    assert page.rows["axes run to"] == "head, back, left"
    assert page.rows["values"] == f"{scan.ct.array.min()} to {scan.ct.array.max()}"
    assert page.rows["lungs"] == f"right {right:.0f} ml, left {left:.0f} ml"
    first = scan.nodules[0]
    assert f"1: {first.diameter_mm:.1f} mm at ({first.center[0]:.1f}, " in page.rows["nodules"]
    picture = page.picture
    assert picture.shape[0] == 128
    assert has(picture, BLUE).any()
    assert np.argwhere(has(picture, BLUE))[:, 1].min() < np.argwhere(has(picture, ORANGE))[:, 1].min()
    assert has(picture, YELLOW).any()
    assert page.images[0]["alt"].startswith("coronal ")
    assert page.images[0]["alt"].endswith("lung window, -1350 to 150 HU")
    assert page.images[0]["alt"] in "".join(page.words)


def test_what_a_scan_lacks_is_not_shown_and_what_was_searched_is(scan):
    bare = page_of(replace(scan, lungs=None, nodules=(), annotated=False))
    assert {"lungs", "nodules", "label maps", "notes", "labels"} & set(bare.rows) == set()
    assert not has(bare.picture, BLUE).any()
    assert page_of(replace(scan, nodules=(), annotated=True)).rows["nodules"] == "none"
    known = replace(scan, figures={"lung_right_ml": 2001.0, "lung_left_ml": 99.5})
    assert page_of(known).rows["lungs"] == "right 2001 ml, left 99.5 ml"
    empty = hilum.Mask(np.zeros_like(scan.lungs.array), scan.lungs.geometry)
    assert page_of(replace(scan, lungs=empty)).rows["lungs"] == "no lung is marked"


def test_text_of_files_is_escaped_cut_and_never_markup_or_mathematics(scan):
    evil = "<script>alert('$x$')</script>\u202e\x00\"&" * 40
    mask = hilum.Mask(np.ones(scan.ct.shape, np.uint8), scan.ct.geometry)
    maps = {f"{evil}{k}": LabelMap(mask, {f"{evil}{value}": value for value in range(1, 256)}) for k in range(20)}
    many = replace(
        scan,
        series_uid=evil,
        nodules=scan.nodules * 100,
        notes=tuple(Note(f"code-{k}", evil) for k in range(500)),
        labels={f"{evil}{k}": evil for k in range(100)},
        label_maps=maps,
    )
    text = many._repr_html_()
    page = page_of(many)
    assert "script" not in page.tags
    assert "<script>alert('$x$')" in page.rows["notes"]
    assert "\u202e" not in text
    assert "\x00" not in text
    assert text.startswith('<div class="tex2jax_ignore mathjax_ignore"')
    assert "and 488 more" in page.rows["notes"]
    assert "and 243 more" in page.rows["label maps"]
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:image/png)", text)


def test_only_what_can_be_written_of_a_note_is_shown(scan):
    note = Note("lost-files", "2 files were left out", shown="2 files were left out: /home/jane-doe/1.dcm")
    assert page_of(replace(scan, notes=(note,))).rows["notes"] == "lost-files: 2 files were left out"


def test_a_mask_shows_its_labels_filled_and_their_volumes(scan):
    page = page_of(scan.lungs)
    right, left = (scan.lungs.volume_ml(label) for label in (1, 2))
    assert page.rows["labels"] == f"1 right lung: {right:.0f} ml2 left lung: {left:.0f} ml"
    colors = {tuple(color) for color in page.picture.reshape(-1, 3).tolist()}
    assert colors == {(0, 0, 0), BLUE, ORANGE}
    axial = page.picture[:, -128:]
    assert np.argwhere(has(axial, BLUE))[:, 1].mean() < np.argwhere(has(axial, ORANGE))[:, 1].mean()
    share = (has(page.picture, BLUE) | has(page.picture, ORANGE)).mean()
    assert 0.1 < share < 0.6
    empty = page_of(hilum.Mask(np.zeros((3, 4, 5), np.uint8), hilum.Geometry((3, 4, 5), (1.0, 1.0, 1.0))))
    assert empty.rows["labels"] == "none: no voxel is marked"
    every = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    assert "and 243 more" in page_of(hilum.Mask(every, hilum.Geometry((4, 8, 8), (1.0, 1.0, 1.0)))).rows["labels"]


def test_a_label_map_on_another_grid_is_drawn_at_its_place(scan):
    """One side of the patient is labeled, on a coarse grid that is turned by 20 degrees."""
    grid = hilum.Geometry((90, 60, 60), (4.0, 8.0, 8.0), (-240.0, -300.0, -420.0), OBLIQUE)
    world = grid.index_to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))
    own = scan.ct.geometry
    middle = own.index_to_world(np.array(own.shape) // 2)
    left = ((np.abs(world - middle) < (60.0, 60.0, 120.0)).all(axis=-1) & (world[..., 0] > middle[0])).astype(np.uint8)
    half = LabelMap(hilum.Mask(left, grid), {"left": 1})
    shown = page_of(replace(scan, lungs=None, nodules=(), label_maps={"half": half}))
    drawn = np.argwhere(has(shown.picture, LABEL_COLORS[0]))
    width = 128  # of each slice: all sides of the phantom are alike
    at = drawn[drawn[:, 1] >= shown.picture.shape[1] - 2 * width - 2][:, 1] - (shown.picture.shape[1] - 2 * width - 2)
    at = np.where(at > width, at - width - 2, at)
    millimeters = (at + 0.5) * own.shape[2] * own.spacing[2] / width - own.shape[2] * own.spacing[2] / 2
    assert millimeters.min() == pytest.approx(0.0, abs=8.0)
    assert millimeters.max() == pytest.approx(60.0, abs=8.0)


def test_the_same_patient_in_other_axes_is_the_same_picture(scan):
    array = np.ascontiguousarray(scan.ct.array.transpose(2, 1, 0)[:, ::-1, ::-1])
    old = scan.ct.geometry
    origin = tuple(old.index_to_world((old.shape[0] - 1, old.shape[1] - 1, 0)).tolist())
    direction = (old.direction[2], *(tuple(-part for part in old.direction[axis]) for axis in (1, 0)))
    turned = hilum.Volume(array, hilum.Geometry(array.shape, old.spacing[::-1], origin, direction))
    one, two = page_of(scan.ct), page_of(turned)
    assert two.rows["axes run to"] == "left, front, feet"
    assert np.array_equal(one.picture, two.picture)
    flipped = hilum.Volume(scan.ct.array[:, :, ::-1], old)
    assert not np.array_equal(one.picture, page_of(flipped).picture)


def test_values_of_another_unit_get_their_own_window_and_it_is_told(scan):
    unit = page_of(hilum.normalize(scan.ct))
    assert "; black 0, white 0.99" in unit.images[0]["alt"]
    assert np.ptp(unit.picture) == 255
    assert page_of(hilum.window(scan.ct, preset="lung")).rows["shape (z, y, x)"].endswith("uint8, 0.553 MB")
    soft = hilum.Volume(np.clip(scan.ct.array, -100, 200), scan.ct.geometry)
    assert page_of(soft).images[0]["alt"].endswith("black -100, white 200")


def test_nan_is_black_and_counted(scan):
    array = scan.ct.array.astype(np.float32)
    array[:20] = np.nan
    page = page_of(hilum.Volume(array, scan.ct.geometry))
    known = array[20:]
    assert page.rows["values"] == f"{known.min():.6g} to {known.max():.6g}; {20 * 96 * 96} are NaN"
    coronal = page.picture[:, :100]
    assert coronal[-20:].max() == 0
    assert coronal[:20].max() == 255


def test_an_oblique_grid_says_by_how_much():
    volume = hilum.Volume(np.zeros((4, 5, 6), np.int16), hilum.Geometry((4, 5, 6), (1.0, 1.0, 1.0), direction=OBLIQUE))
    assert page_of(volume).rows["axes run to"] == "head, back, left; oblique by 20\u00b0"


def test_one_slice_is_one_picture(scan):
    page = page_of(scan.ct.crop((30, 0, 0), (31, 96, 96)))
    assert page.images[0]["alt"].startswith("axial 1 of 1; ")
    assert page.picture.shape[:2] == (128, 128)


def test_voxels_that_are_no_numbers_have_no_picture():
    grid = hilum.Geometry((2, 3, 4), (1.0, 1.0, 1.0))
    page = page_of(hilum.Volume(np.full(grid.shape, 1j), grid))
    assert page.images == []
    assert "no picture of complex128 voxels" in page.words


KINDS = ["bool", "uint8", "int16", ">i2", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64"]
VALUES = [0.0, 1.0, -1024.0, 3071.0, 1e30, 1e300, float("inf"), float("-inf"), float("nan")]


@settings(deadline=None, max_examples=120)
@given(geometries(max_size=9), st.sampled_from(KINDS), st.lists(st.sampled_from(VALUES), min_size=1, max_size=9))
def test_any_volume_is_shown_without_an_error_or_a_warning(geometry, kind, values):
    with np.errstate(all="ignore"):
        array = np.resize(np.array(values), geometry.shape).astype(kind)
    page = page_of(hilum.Volume(array, geometry))
    assert page.picture.shape[0] == 128
    assert page.rows["values"]


@settings(deadline=None, max_examples=80)
@given(geometries(max_size=9), geometries(max_size=9), st.lists(st.tuples(*[st.floats(-0.6, 1.6)] * 3), max_size=6))
def test_any_scan_is_shown_whatever_its_nodules_and_label_maps(grid, other, shares):
    world = [tuple(grid.index_to_world(np.array(share) * np.array(grid.shape) - 0.5).tolist()) for share in shares]
    labels = hilum.Mask(np.resize(np.arange(5, dtype=np.uint8), other.shape), other)
    lungs = hilum.Mask(np.resize(np.arange(4, dtype=np.uint8), grid.shape), grid)
    ct = hilum.Volume(np.resize(np.array([-1000, 0, 300], np.int16), grid.shape), grid)
    nodules = tuple(hilum.Nodule(center, 5.0 + number) for number, center in enumerate(world))
    drawn = hilum.mask_nodules(grid, nodules) if len(nodules) % 2 else None
    maps = {"parts": LabelMap(labels, {str(k): k for k in range(1, 5)})}
    page = page_of(hilum.Scan("", ct, nodules, True, lungs, drawn, maps))
    assert page.rows["nodules"].count(" mm at ") == len(nodules)
    assert page.picture.shape[0] == 128


def test_a_large_scan_is_small():
    rng = np.random.default_rng(0)
    grid = hilum.Geometry((40, 512, 512), (8.0, 0.7, 0.7))
    noise = hilum.Volume(rng.integers(-1350, 150, grid.shape, np.int16), grid)
    lungs = hilum.Mask((rng.random(grid.shape) < 0.5).astype(np.uint8), grid)
    nodules = tuple(hilum.Nodule(tuple(grid.index_to_world((20, 99 * k, 256)).tolist()), 9.0) for k in range(1, 5))
    assert 20_000 < len(hilum.Scan("1", noise, nodules, True, lungs)._repr_html_()) < LIMIT


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three finished scans, and one that was refused."""
    root = tmp_path_factory.mktemp("run")
    (root / "in").mkdir()
    write_small(root / "in", 3)
    (root / "in" / "1.2.9.mhd").write_text("ObjectType = Image\n<b>\n", encoding="utf-8")
    (root / "coarse.toml").write_text("[resample]\nspacing_mm = 6.0\n", encoding="utf-8")
    main(["run", str(root / "in"), "--out", str(root / "OUT"), "--recipe", str(root / "coarse.toml")])
    return root / "OUT"


def test_a_run_shows_its_counts_its_first_pictures_and_why_scans_were_refused(made):
    run = hilum.open_run(made)
    page = page_of(run)
    assert page.words[0] == "Run OUT"
    assert page.rows["finished scans"] == "3"
    assert page.rows["status"] == ", ".join(f"{count} {status}" for status, count in run.status.items() if count)
    (row,) = run.refused
    assert page.rows["refused"] == f"{row.id}: {row.reason}"
    assert len(page.images) == 3
    assert page.picture.shape[0] == 128
    assert any(word.startswith(f"{run.ids[0]}, {run[0].row.status}") for word in page.words)


def test_a_scan_of_a_run_shows_its_picture_and_record_without_its_volumes(made, tmp_path):
    out = shutil.copytree(made, tmp_path / "OUT")
    for path in (out / "scans").rglob("*.nii.gz"):
        path.unlink()
    one = hilum.open_run(out)[0]
    page = page_of(one)
    assert page.words[0] == f"RunScan {one.scan_id}"
    assert page.rows["status"] == one.row.status
    assert page.rows["shape (z, y, x)"] == " \u00d7 ".join(map(str, one.geometry.shape))
    assert page.rows["unit"] == one.record.unit
    assert page.rows["lungs"].startswith(f"right {one.figures['lung_right_ml']:.0f} ml")
    assert page.picture.shape[0] == 128


def test_damage_of_a_run_is_shown_and_no_error(made, tmp_path):
    out = shutil.copytree(made, tmp_path / "OUT")
    first, second, third = hilum.open_run(out).ids
    (out / "scans" / first / "scan.json").write_text("{}")
    (out / "scans" / second / "preview.png").write_bytes(b"other")
    run = hilum.open_run(out)
    assert len(page_of(run).images) == 1
    assert page_of(run[first]).rows["scan.json"] == "missing, damaged, or not the run's"
    assert page_of(run[second]).images == []
    assert len(page_of(run[third]).images) == 1
    (out / "ledger.jsonl").unlink()
    assert page_of(hilum.open_run(out)).rows["status"] == "no ledger"


def test_a_large_run_is_small(made):
    run = hilum.open_run(made)
    (refused,) = run.refused
    rows = {f"<b>{k}": msgspec.structs.replace(refused, id=f"<b>{k}", reason="<script>" * 99) for k in range(500)}
    page = page_of(replace(run, rows={**run.rows, **rows}))
    assert page.rows["refused"].endswith("and 489 more")
    assert "b" not in page.tags
