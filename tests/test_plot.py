"""The pictures of `hilum.plot`: found by tab, imported when used, and shown by a notebook by themselves, once."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image

import hilum
from hilum.cli import main
from hilum.ops.froc import froc
from hilum.phantom import make_phantom
from hilum.pictures import colors

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("IPython")

MARKS = np.array([[0.0, 0.0, 0.0, 9.0]])
NAMES = ["compare", "froc", "histogram", "montage", "nodules", "overview", "steps", "surface", "window"]


@pytest.fixture(scope="module")
def scan():
    phantom = make_phantom(seed=3, shape=(40, 64, 64), spacing=(8.0, 6.0, 6.0))
    return replace(phantom.scan, lungs=phantom.lungs, annotated=True)


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_tab_finds_every_picture_and_imports_no_matplotlib():
    code = "import sys, hilum; print(dir(hilum.plot)); print('matplotlib' in sys.modules, 'numba' in sys.modules)"
    assert run(code) == [str(NAMES), "False False"]
    assert "plot" in dir(hilum)


def test_the_stub_names_the_same_functions_at_the_modules_that_draw_them():
    stub = ast.parse((Path(hilum.__file__).parent / "plot.pyi").read_text(encoding="utf-8"))
    listed = {node.names[0].asname: node.module for node in stub.body if isinstance(node, ast.ImportFrom)}
    assert listed == {name: f"hilum.pictures.{name}" for name in NAMES}
    modules = (Path(hilum.__file__).parent / "pictures").glob("*.py")
    draw = {path.stem for path in modules if f"\ndef {path.stem}(" in path.read_text(encoding="utf-8")}
    assert draw == set(NAMES)


def test_a_name_that_is_none_lists_those_that_are():
    with pytest.raises(AttributeError, match="its functions are compare, froc, histogram"):
        _ = hilum.plot.montages


def test_missing_matplotlib_is_one_line():
    code = """
import sys
sys.modules["matplotlib"] = None
import hilum
try:
    hilum.plot.montage
except hilum.InputError as refused:
    print(refused)
"""
    (line,) = run(code)
    assert "matplotlib" in line
    assert "pip install 'hilum[plots]'" in line


def figures(scan):
    """Each picture of a scan, by name."""
    lungs = scan.lungs
    bare = replace(scan, lungs=None)
    yield "compare", hilum.plot.compare(scan, "default", hilum.recipe("tutorial2017"))
    yield "froc", hilum.plot.froc(froc({"a": MARKS}, {"a": MARKS}, ["a"]))
    yield "histogram", hilum.plot.histogram(scan, mask=lungs)
    yield "montage", hilum.plot.montage(bare, lungs=lungs, every=10)
    yield "nodules", hilum.plot.nodules(bare, lungs=lungs, most=1)
    yield "overview", hilum.plot.overview(bare, lungs=lungs, slices=2)
    yield "steps", hilum.plot.steps(scan)
    yield "surface", hilum.plot.surface(bare, lungs=lungs)
    yield "window", hilum.plot.window(scan)


def test_a_notebook_shows_each_picture_as_a_png_of_its_size(scan):

    shown = InteractiveShell.instance().display_formatter
    seen = []
    for name, figure in figures(scan):
        bundle, _ = shown.format(figure)
        assert set(bundle) == {"text/plain", "image/png"}, name
        assert len(bundle["image/png"]) < 2 << 20, name
        with Image.open(io.BytesIO(bundle["image/png"])) as image:
            width, height = figure.get_size_inches() * figure.dpi
            assert image.size == pytest.approx((width, height), abs=1), name
            assert np.ptp(np.asarray(image.convert("L"))) > 200, name
        seen.append(name)
    assert seen == NAMES


def test_pyplot_knows_no_figure_and_its_own_settings_show_it_once():
    code = """
import sys, hilum
from hilum.phantom import make_phantom
figure = hilum.plot.montage(make_phantom(seed=3, shape=(20, 32, 32), spacing=(8.0, 8.0, 8.0)).scan)
print("matplotlib.pyplot" in sys.modules)
import matplotlib
matplotlib.use("agg")
from matplotlib import pyplot
print(pyplot.get_fignums())
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.pylabtools import select_figure_formats
shell = InteractiveShell.instance()
for form in ("png", "svg"):  # as %matplotlib inline sets them
    select_figure_formats(shell, {form})
    print(sorted(shell.display_formatter.format(figure)[0]))
"""
    lines = run(code)
    assert lines[:3] == ["False", "[]", "['image/png', 'text/plain']"]
    assert "image/svg+xml" in lines[3]


def test_a_volume_is_drawn_as_its_scan_without_annotations(scan):
    plain = hilum.plot.montage(scan.ct, every=10)
    bare = hilum.plot.montage(replace(scan, lungs=None, nodules=(), annotated=False), every=10)
    assert plain._repr_png_() == bare._repr_png_()
    assert plain._repr_png_() != hilum.plot.montage(scan, every=10)._repr_png_()


def test_lungs_given_with_a_scan_go_before_its_own(scan):
    other = hilum.Mask(scan.lungs.array[:, ::-1], scan.lungs.geometry)
    own, given = (hilum.plot.montage(scan, every=10, lungs=lungs) for lungs in (None, other))
    assert own._repr_png_() != given._repr_png_()
    assert given._repr_png_() == hilum.plot.montage(replace(scan, lungs=other), every=10)._repr_png_()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"compare", "froc"}))
@pytest.mark.parametrize("wrong", ["scan.mha", Path("series"), None, np.zeros((2, 2, 2), np.int16)])
def test_what_is_no_scan_is_refused_with_the_right_call(name, wrong):
    with pytest.raises(hilum.InputError, match=r"is no scan or volume; hilum\.(read|Volume\.from_array)\("):
        getattr(hilum.plot, name)(wrong)


def test_a_montage_leaves_out_the_air_before_and_after_the_body_alone():
    grid = hilum.Geometry((30, 40, 40), (5.0, 5.0, 5.0))
    array = np.full(grid.shape, -1000, np.int16)
    array[4:20, 10:30, 10:30], array[11:13] = 40, -1000  # air in the middle stays
    titles = {}
    for plane in ("axial", "coronal"):
        figure = hilum.plot.montage(hilum.Volume(array, grid), plane=plane, every=2)
        titles[plane] = figure.get_suptitle()
        numbers = [text.get_text() for text in figure.axes[0].texts if text.get_text().isdigit()]
        assert numbers == [str(k + 1) for k in (range(4, 20, 2) if plane == "axial" else range(10, 30, 2))]
    assert titles["axial"].startswith("axial slices 5 to 19 of 30, 10 mm apart")
    assert titles["coronal"].startswith("coronal slices 11 to 29 of 40, 10 mm apart")
    empty = hilum.plot.montage(hilum.Volume(np.full(grid.shape, -1000, np.int16), grid), every=2)
    assert empty.get_suptitle().startswith("axial slices 1 to 29 of 30")


def test_the_froc_curve_runs_through_its_marks():
    marks = np.array([[0.0, 0, 0, 0.9], [50, 0, 0, 0.5], [99, 0, 0, 0.4], [200, 0, 0, 0.3]])
    score = froc({"a": marks}, {"a": np.array([[0.0, 0, 0, 9], [99, 0, 0, 9], [300, 0, 0, 9]])}, ["a", "b", "c"])
    (panel,) = hilum.plot.froc(score).axes
    curve, dots = (np.array(line.get_xydata()) for line in panel.lines)
    drawn = curve[curve[:, 0] > 0]
    for rate, sensitivity in dots:
        near = drawn[np.abs(np.log2(drawn[:, 0] / rate)) < 0.05]
        assert np.abs(near[:, 1] - sensitivity).min() < 0.01, rate


def test_lungs_all_around_a_nodule_have_no_outline_at_the_edge_of_its_picture(scan):
    everywhere = hilum.Mask(np.ones(scan.ct.shape, np.uint8), scan.ct.geometry)
    for lungs, blue in ((everywhere, 0), (scan.lungs, 1)):
        figure = hilum.plot.nodules(scan, lungs=lungs, most=4)
        groups = [group for panel in figure.findobj(matplotlib.axes.Axes) for group in panel.collections]
        lines = [color for group in groups for color in group.get_colors().tolist()]
        assert (matplotlib.colors.to_rgba(colors.LABELS[1]) in map(tuple, lines)) == bool(blue)


def test_a_scan_of_a_run_is_drawn_as_it_is_stored(tmp_path, scan):
    hilum.write(scan, tmp_path / "1.2.3.mhd")
    recipe = tmp_path / "coarse.toml"
    recipe.write_text("[resample]\nspacing_mm = 6.0\n", encoding="utf-8")
    assert main(["run", str(tmp_path / "1.2.3.mhd"), "--out", str(tmp_path / "OUT"), "--recipe", str(recipe)]) == 0
    (one,) = hilum.open_run(tmp_path / "OUT")
    drawn, same = hilum.plot.montage(one, every=10), hilum.plot.montage(one.scan(), every=10)
    assert drawn._repr_png_() == same._repr_png_()


def test_a_mask_is_drawn_over_its_scan(scan):
    with pytest.raises(hilum.InputError, match=r"hilum\.plot\.montage\(scan, lungs=mask\)"):
        hilum.plot.montage(scan.lungs)


@pytest.mark.parametrize(("value", "pixels", "drawn"), [(-499, 17, 20), (-500, 17, 30), (-499, 16, 30)])
def test_a_slice_of_air_has_at_most_one_percent_of_pixels_above_minus_500_hu(value, pixels, drawn):
    """Of 1,600 pixels 16 are one percent; without a slice with tissue, all are drawn."""
    array = np.full((30, 1600), -1000, np.int16)
    array[4:24, :pixels] = value
    figure = hilum.plot.montage(
        hilum.Volume(array.reshape(30, 40, 40), hilum.Geometry((30, 40, 40), (5.0, 5.0, 5.0))), every=1
    )
    assert len([text for text in figure.axes[0].texts if text.get_text().isdigit()]) == drawn
