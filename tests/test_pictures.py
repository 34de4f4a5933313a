"""Figures: the right voxels at the right position, to scale, in any orientation of the axes."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from xml.dom import minidom

import matplotlib.text
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import hilum
from hilum.errors import GeometryError, InputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.ops.lungs.tutorial2d import steps2d
from hilum.phantom import make_phantom
from hilum.pictures import colors
from hilum.pictures.compare import RecipeResults, apply_recipes, compare, hu_difference, interpolate
from hilum.pictures.drawing import nodule_circle, outlines, plain, slice_outlines
from hilum.pictures.histogram import RANGE_HU, histogram
from hilum.pictures.legacy_mistakes import corner_grid_mm, direction_mm, slice_order_mm
from hilum.pictures.montage import montage
from hilum.pictures.nodules import nodules
from hilum.pictures.overview import overview
from hilum.pictures.planes import PLANES, picture_position, reorient_hu
from hilum.pictures.steps import steps
from hilum.pictures.surface import surface
from hilum.pictures.window import gray_curve, window
from hilum.recipes import parse_recipe, recipe_toml
from hilum.scan import Nodule, Note
from hilum.volume import Mask, Volume

BASELINES = Path(__file__).parent / "baselines"
TOLERANCE = 5.0
"""Mean difference of gray levels, 0 to 255, between fonts and versions of matplotlib."""


@pytest.fixture(scope="module")
def scan():
    phantom = make_phantom(seed=3, shape=(60, 96, 96), spacing=(5.0, 4.0, 4.0))
    return replace(phantom.scan, lungs=phantom.lungs, annotated=True)


def turned(volume):
    """Reorient a volume to axes that run to the left, the front and the feet."""
    old = volume.geometry
    array = np.ascontiguousarray(volume.array.transpose(2, 1, 0)[:, ::-1, ::-1])
    origin = old.index_to_world((old.shape[0] - 1, old.shape[1] - 1, 0))
    direction = (old.direction[2], tuple(-d for d in old.direction[1]), tuple(-d for d in old.direction[0]))
    geometry = Geometry(array.shape, old.spacing[::-1], tuple(origin.tolist()), direction)
    return type(volume)(array, geometry)


def pictures(figure):
    return [np.ma.filled(panel.images[0].get_array(), 0) for panel in figure.axes if panel.images]


def texts(figure):
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def lines_of(panel):
    return [
        (tuple(c), s)
        for group in panel.collections
        for c, s in zip(group.get_colors(), group.get_segments(), strict=True)
    ]


def pixels_of(figure, dpi=50):
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=dpi)
        return np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize(
    "name", ["histogram", "montage", "surface", "steps", "nodules", "window", "compare", "overview"]
)
def test_a_figure_is_the_function_of_its_modules_name_and_says_what_it_takes(name):
    assert "Parameters\n" in getattr(import_module(f"hilum.pictures.{name}"), name).__doc__


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_points_are_drawn_in_the_radiologists_view(plane):
    """Draw one bright voxel: left and posterior have larger x, superior has smaller y, in mm."""
    grid = Geometry((20, 24, 28), (3.0, 2.0, 1.0), (-10.0, 40.0, 300.0))
    for index in ((15, 20, 22), (3, 20, 4), (10, 5, 22)):
        array = np.full(grid.shape, -1000, np.int16)
        array[index] = 1000
        x, y, z = grid.index_to_world(index) - grid.index_to_world((-0.5, -0.5, -0.5))
        expected = {"axial": (x, y), "coronal": (x, 60.0 - z), "sagittal": (y, 60.0 - z)}[plane]
        shown = PLANES[plane]
        lit = np.argwhere(np.take(array, index[shown.axis], axis=shown.axis) > 0)
        assert len(lit) == 1
        at = picture_position(grid, shown, tuple(grid.index_to_world(index).tolist()))
        assert at[:2] == pytest.approx(expected)
        assert at[2] == pytest.approx(index[shown.axis])
        figure = montage(Volume(array, grid), plane=plane, every=1, columns=1000)
        pixels, (left, right, bottom, top) = pictures(figure)[0], figure.axes[0].images[0].get_extent()
        bright = np.argwhere(pixels > 0).mean(axis=0) + 0.5
        place = bright / pixels.shape * (bottom - top, right - left)
        pitch = 1.02 * grid.shape[shown.columns] * grid.spacing[shown.columns]
        assert place[1] - index[shown.axis] * pitch == pytest.approx(expected[0], abs=1.0)
        assert place[0] == pytest.approx(expected[1], abs=1.6)


def test_the_orientation_of_the_axes_does_not_change_pictures(scan):
    other = replace(scan, ct=turned(scan.ct), lungs=turned(scan.lungs))
    assert other.ct.geometry.direction != scan.ct.geometry.direction
    for draw in (
        lambda s: montage(s.ct, every=9, lungs=s.lungs, nodules=s.nodules),
        overview,
        nodules,
        lambda s: steps(s.ct, method="hilum", index=30),
    ):
        one, two = draw(scan), draw(other)
        for a, b in zip(pictures(one), pictures(two), strict=True):
            assert np.array_equal(a, b)
        for panel, again in zip(one.axes, two.axes, strict=True):
            for (c1, line1), (c2, line2) in zip(lines_of(panel), lines_of(again), strict=True):
                assert c1 == c2
                assert np.allclose(line1, line2, atol=1e-6)


def test_a_flipped_volume_gives_another_picture(scan):
    wrong = replace(scan, ct=Volume(scan.ct.array[:, :, ::-1], scan.ct.geometry))
    assert not np.array_equal(pictures(overview(scan))[0], pictures(overview(wrong))[0])


def test_outlines_enclose_the_pixels_in_mm():
    inside = np.zeros((30, 40), bool)
    inside[5:15, 20:26] = True
    (line,) = outlines(inside, (2.0, 0.5))
    assert line.min(axis=0) == pytest.approx((10.0, 10.0))
    assert line.max(axis=0) == pytest.approx((13.0, 30.0))
    assert np.array_equal(line[0], line[-1])
    x, y = line.T
    assert abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2) == pytest.approx(60.0, rel=0.02)  # its corners are cut
    assert outlines(np.zeros((3, 3), bool), (1.0, 1.0)) == []
    edge = outlines(np.ones((4, 6), bool), (1.0, 1.0))
    assert (edge[0].min(), edge[0].max()) == (0.0, 6.0)


def test_lungs_have_their_colors_and_nodules_are_circles_to_scale(scan):
    place = round(float(scan.ct.geometry.world_to_index(scan.nodules[0].center)[0]))
    lines = slice_outlines(reorient_hu(scan), PLANES["axial"], place)
    sides = {
        color: np.concatenate([line for c, line in lines if c == color])
        for color in (colors.LABELS[1], colors.LABELS[2])
    }
    assert sides[colors.LABELS[1]][:, 0].mean() < sides[colors.LABELS[2]][:, 0].mean()
    x, y, level = picture_position(scan.ct.geometry, PLANES["axial"], scan.nodules[0].center)
    circle = nodule_circle(scan.ct.geometry, PLANES["axial"], place, scan.nodules[0])
    radius = np.sqrt((scan.nodules[0].diameter_mm / 2) ** 2 - (5.0 * (level - place)) ** 2)
    assert np.allclose(np.hypot(*(circle - (x, y)).T), radius)
    assert any(np.array_equal(circle, line) for color, line in lines if color == colors.NODULE)
    assert nodule_circle(scan.ct.geometry, PLANES["axial"], place + 20, scan.nodules[0]) is None


def test_a_montage_has_every_nth_slice_once_and_to_scale(scan):
    figure = montage(scan.ct, every=7, columns=4, preset="bone")
    panel = figure.axes[0]
    numbers = [int(t.get_text()) for t in panel.texts if t.get_text().isdigit()]
    assert numbers == list(range(1, 61, 7))
    _, right, bottom, _ = panel.images[0].get_extent()
    assert (right, bottom) == pytest.approx((384 * (4 + 3 * 0.02), 384 * (3 + 2 * 0.02)), rel=1e-6)
    assert panel.get_aspect() == 1.0
    assert panel.images[0].get_clim() == (-500, 1300)
    coronal = montage(scan.ct, plane="coronal", every=95, columns=1).axes[0].images[0].get_extent()
    assert coronal[1] == pytest.approx(384.0)
    assert coronal[2] == pytest.approx(2 * 300.0 + 0.02 * 384)
    assert [t for t in texts(figure) if t in "RLAPHF"] == ["R", "L", "A", "P"]


def test_a_histogram_counts_exactly_the_voxels_of_the_mask(scan):
    figure = histogram(scan.ct, mask=scan.lungs, bins=40)
    (stairs,) = figure.axes[0].patches[:1]
    values, edges, _ = stairs.get_data()
    inside = scan.ct.array[scan.lungs.array > 0]
    assert np.allclose(values, 100 * np.histogram(inside, edges)[0] / inside.size)
    fine, fine_edges, _ = figure.axes[1].patches[0].get_data()
    assert np.allclose(fine, 100 * np.histogram(inside, fine_edges)[0] / inside.size)
    beyond = np.count_nonzero((inside < RANGE_HU[0]) | (inside >= RANGE_HU[1]))
    assert f"{inside.size:,} voxels, {beyond:,} beyond this range" in texts(figure)
    shown = " ".join(texts(figure))
    assert all(f"{t.name}, " in shown for t in hilum.TISSUES[:8])
    assert "Hounsfield units (HU)" in shown
    whole = histogram(scan.ct).axes[0].patches[0].get_data().values
    assert not np.allclose(whole[:40], values)


def test_steps_draw_the_eight_stages_with_their_pixels(scan):
    figure = steps(scan.ct, index=30)
    found = steps2d(np.ascontiguousarray(scan.ct.array[30]))
    shown = pictures(figure)
    assert len(shown) == 9
    assert np.array_equal(shown[0], scan.ct.array[30])
    for number, name in ((1, "air"), (2, "cleared"), (4, "largest"), (5, "eroded"), (6, "closed"), (7, "filled")):
        assert np.array_equal(shown[number], getattr(found, name)), name
    assert np.array_equal(shown[3] > 0, found.labeled > 0)
    assert np.array_equal(shown[8], found.masked)
    assert [t[:2] for t in texts(figure) if t[:2] in {f"{k}." for k in range(1, 9)}] == [f"{k}." for k in range(1, 9)]


def test_the_stages_of_the_default_method_end_in_its_mask(scan):
    figure = steps(scan.ct, method="hilum", index=30)
    mask = hilum.segment_lungs(scan.ct).array[30]
    right, left = (~np.ma.getmaskarray(image.get_array()) for image in figure.axes[6].images[1:])
    assert np.array_equal(right, mask == 1)
    assert np.array_equal(left, mask == 2)
    body, air = (~np.ma.getmaskarray(image.get_array()) for image in figure.axes[2].images[1:])
    assert body.sum() > air.sum() > 0
    assert not (body & air).any()


def test_a_nodules_mask_and_bar_are_to_scale(scan):
    figure = nodules(scan, most=2)
    largest = sorted(scan.nodules, key=lambda n: -n.diameter_mm)[:2]
    blocks = [figure.axes[k : k + 9] for k in (0, 9)]
    for nodule, axes in zip(largest, blocks, strict=True):
        for row, plane in enumerate(PLANES.values()):
            image, mask, _ = axes[3 * row : 3 * row + 3]
            left, right, bottom, top = mask.images[0].get_extent()
            area = mask.images[0].get_array().mean() * (right - left) * (bottom - top)
            pixel = scan.ct.spacing[plane.rows] * scan.ct.spacing[plane.columns]
            assert area == pytest.approx(np.pi / 4 * nodule.diameter_mm**2, rel=0.35, abs=2 * pixel)
            (bar,) = image.lines
            assert np.ptp(bar.get_xdata()) == float(
                next(t for t in image.texts if " mm" in t.get_text()).get_text()[:-3]
            )
    assert f"diameter {largest[0].diameter_mm:.1f} mm" in " ".join(texts(figure))
    assert any(f"2 of {len(scan.nodules)} nodules" in t for t in texts(figure))


def test_windows_and_curves_are_those_of_the_library(scan):
    figure = window(scan, index=30, rescale=(2.0, -1000.0))
    hu = np.arange(-1500, 2000, dtype=np.int16)
    modality, voi, both = figure.axes[4:7]
    stored, line = modality.lines[0].get_data()
    assert np.array_equal(2.0 * stored - 1000.0, line)
    for name, curve, again in zip(hilum.WINDOW_PRESETS, voi.lines[::2], both.lines[::2], strict=True):
        cube = Volume(hu.reshape(1, 1, -1), Geometry((1, 1, hu.size), (1.0, 1.0, 1.0)))
        expected = hilum.window(cube, preset=name).array.ravel()
        assert np.array_equal(curve.get_ydata(), expected)
        assert np.array_equal(gray_curve(hu, name), expected)
        assert np.array_equal(again.get_xdata() * 2.0 - 1000.0, hu)
    assert figure.axes[0].images[0].get_clim() == (-1350, 150)
    assert any("HU = 2 x stored - 1000" in t for t in texts(figure))
    assert any("an example" in t for t in texts(window(scan)))


def test_a_comparison_samples_the_second_result_on_the_grid_of_the_first(scan):
    same = hilum.recipe("default")
    coarse = parse_recipe("[resample]\nspacing_mm = 4.0\n[lungs]\nmethod = 'none'\n")
    found = apply_recipes(scan, coarse, coarse)
    assert np.abs(hu_difference(found, PLANES["coronal"], 40)).max() == 0.0
    moved = replace(
        found.second.ct.geometry, origin=tuple(np.add(found.second.ct.geometry.origin, (4.0, 0, 0)).tolist())
    )
    elsewhere = replace(found.second, ct=Volume(found.second.ct.array, moved), nodule_mask=None)
    shifted = RecipeResults(found.first, elsewhere, found.limits, None)
    gap = hu_difference(shifted, PLANES["axial"], 30)
    own = found.first.ct.array[30].astype(float)
    assert np.array_equal(gap[:, 1:], own[:, :-1] - own[:, 1:])
    assert same.name == "default"
    ramp = Geometry((4, 5, 6), (2.0, 1.0, 3.0), (7.0, 8.0, 9.0))
    index = np.stack(np.meshgrid(*map(np.arange, ramp.shape), indexing="ij"), -1)
    world = ramp.index_to_world(index)
    values = Volume((world @ (2.0, -3.0, 5.0)).astype(np.float32), ramp)
    places = ramp.index_to_world(np.random.default_rng(1).uniform(0, np.array(ramp.shape) - 1, (50, 3)))
    assert np.allclose(interpolate(values, places), places @ (2.0, -3.0, 5.0), atol=1e-3)
    assert np.isnan(interpolate(values, ramp.index_to_world((0, 0, 6.0)))).all()


def test_two_recipes_are_compared_in_hu_and_lungs(scan):
    coarse = "[resample]\nspacing_mm = 3.0\n"
    tutorial = recipe_toml(hilum.recipe("tutorial2017")).replace("spacing_mm = 1.0", "spacing_mm = 3.0")
    figure = compare(scan, parse_recipe(coarse), parse_recipe(tutorial))
    told = "\n".join(texts(figure))
    assert "cut to -1000 to 400 HU" in " ".join(told.split())
    assert "tutorial2017: " in told
    assert "distance from the true position, mm" in told
    assert "Diameter used as radius" in told
    assert "Dice" in told


def test_mistakes_move_points_by_what_their_arithmetic_says():
    grid = Geometry((40, 100, 100), (5.0, 0.8, 0.8), (-40.0, -40.0, 0.3))
    places = grid.index_to_world([(0, 0, 0), (39, 0, 0), (20, 50, 50)])
    # n' = 200, so s' = 1.0: at the last slice (n - 1) n' / n = 195 stands for 199, four voxels of 5 * 39 / 199 mm.
    assert corner_grid_mm(grid, places, spacing=1.0)[:2] == pytest.approx([0.0, 4 * 5 * 39 / 199])
    assert (slice_order_mm(grid, places) == 0).all()
    thin = Geometry((40, 10, 10), (0.4, 1.0, 1.0), (0.0, 0.0, 0.1))
    at = thin.index_to_world([(0, 0, 0), (1, 0, 0), (2, 0, 0)])  # z = 0.1, 0.5, 0.9 are all 0
    assert slice_order_mm(thin, at) == pytest.approx([0.8, 0.4, 0.8])
    assert direction_mm(grid, places) == pytest.approx(np.zeros(3), abs=1e-9)
    flipped = replace(grid, direction=((0, 0, -1), (0, 1, 0), (1, 0, 0)))
    assert direction_mm(flipped, flipped.index_to_world([(10, 3, 4)])) == pytest.approx([100.0])


def test_what_cannot_be_drawn_is_refused(scan):
    other = Mask(np.zeros((2, 2, 2), np.uint8), Geometry((2, 2, 2), (1.0, 1.0, 1.0)))
    empty = Mask(np.zeros(scan.ct.shape, np.uint8), scan.ct.geometry)
    unit = hilum.normalize(scan.ct)
    for call, error in (
        (lambda: montage(scan.ct, plane="oblique"), InputError),
        (lambda: montage(scan.ct, preset="brain"), InputError),
        (lambda: montage(scan.ct, every=0), InputError),
        (lambda: montage(scan.ct, lungs=other), GeometryError),
        (lambda: histogram(scan.ct, mask=other), GeometryError),
        (lambda: histogram(scan.ct, mask=empty), InputError),
        (lambda: histogram(scan.ct, bins=1), InputError),
        (lambda: steps(scan.ct, index=60), InputError),
        (lambda: steps(scan.ct, method="tutorial3d"), InputError),
        (lambda: nodules(replace(scan, nodules=())), InputError),
        (lambda: nodules(replace(scan, nodules=(Nodule((0.0, 0.0, 9e5), 5.0),))), InputError),
        (lambda: montage(unit), UnsupportedError),
        (lambda: overview(replace(scan, ct=unit)), UnsupportedError),
        (lambda: steps(unit), UnsupportedError),
        (lambda: histogram(unit), UnsupportedError),
        (lambda: surface(replace(scan, ct=unit), kind="skeleton"), UnsupportedError),
        (lambda: window(scan, index=-1), InputError),
        (lambda: window(scan, rescale=(0.0, 1.0)), InputError),
    ):
        with pytest.raises(error) as caught:
            call()
        assert len(str(caught.value)) <= 300


def test_text_from_files_is_only_drawn_as_plain_text(scan):
    evil = "<script>alert(1)</script>\x1b[31m$\\frac{1}{0}$\n\u202e=cmd()"
    marked = replace(scan, series_uid=evil, notes=(Note("padding-to-air", evil),), labels={"cancer": evil})
    for figure in (overview(marked, slices=1), nodules(marked, most=1), surface(marked, turns_deg=(0.0,))):
        with io.StringIO() as file:
            figure.savefig(file, format="svg")
            minidom.parseString(file.getvalue())  # noqa: S318 - made a line ago
            assert "alert" not in file.getvalue()
    figure = Figure()
    figure.suptitle(plain(evil))
    with io.StringIO() as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
        assert not minidom.parseString(file.getvalue()).getElementsByTagName("script")  # noqa: S318 - as above
    assert plain(evil) == r"<script>alert(1)</script>?[31m\$\frac{1}{0}\$ ?=cmd()"
    parser = matplotlib.text.Text(text=plain(evil))
    assert parser._preprocess_math(plain(evil))[1] is False
    assert parser._preprocess_math("$x$")[1] is True


def baseline_figures(scan):
    return {
        "montage": montage(scan.ct, every=6, columns=5, lungs=scan.lungs, nodules=scan.nodules),
        "overview": overview(scan, slices=3),
        "surface": surface(scan, kind="lungs"),
        "nodules": nodules(scan, most=1),
        "histogram": histogram(scan.ct),
    }


def gap(one, two):
    """Measure the mean gray difference of blocks of about 8 pixels, which small shifts of letters do not change."""
    if one.shape != two.shape:
        return np.inf
    blocks = [
        np.array(Image.fromarray(p).resize((p.shape[1] // 8, p.shape[0] // 8), Image.Resampling.BOX))
        for p in (one, two)
    ]
    return float(np.abs(blocks[0].astype(float) - blocks[1]).mean())


def test_pictures_match_their_baselines(scan):
    """Renew the baselines after a reviewed change with ``HILUM_BASELINES=1 pytest tests/test_pictures.py``."""
    for name, figure in baseline_figures(scan).items():
        seen, path = pixels_of(figure), BASELINES / f"{name}.png"
        if os.environ.get("HILUM_BASELINES"):
            Image.fromarray(seen).quantize(64).save(path, optimize=True)
        with Image.open(path) as file:
            kept = np.asarray(file.convert("RGB"))
        assert gap(seen, kept) < TOLERANCE, name
        for wrong in (seen[:, ::-1], seen[::-1], 255 - seen):
            assert gap(wrong, kept) > 1.5 * TOLERANCE, name


@pytest.mark.real
def test_the_nodule_of_a_real_scan_is_where_its_pixels_are(real_data):
    found = hilum.read(real_data / "lidc-idri-0314" / "image", annotations=real_data / "luna16" / "annotations.csv")
    figure = nodules(found)
    for row in range(3):
        image, mask = pictures(figure)[3 * row : 3 * row + 2]
        inside = np.median(image[mask > 0])
        assert inside > -100
        assert np.median(image[mask == 0]) < -700
