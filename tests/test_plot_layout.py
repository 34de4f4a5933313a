"""Every picture can be read: no text covers another or leaves the figure, also in a paper column and in gray."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib.text
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

import hilum
from hilum.cli import main
from hilum.ops import preview_slices
from hilum.ops.froc import froc
from hilum.phantom import make_phantom
from hilum.pictures import colors
from hilum.pictures.extent import drawn_slices
from hilum.pictures.planes import PLANES

COLUMN_MM = 85.0
MARKS = np.array([[0.0, 0.0, 0.0, 0.9]])


@pytest.fixture(scope="module")
def scan():
    phantom = make_phantom(seed=3, shape=(60, 96, 96), spacing=(5.0, 4.0, 4.0))
    lobes = hilum.Mask(phantom.lungs.array, phantom.lungs.geometry, names={1: "right upper lobe", 2: "left upper lobe"})
    maps = {"lobes": hilum.LabelMap(lobes, {"right upper lobe": 1, "left upper lobe": 2})}
    return replace(phantom.scan, lungs=phantom.lungs, annotated=True, label_maps=maps)


DRAW = {
    "compare": lambda s, **k: hilum.plot.compare(s, "default", "tutorial2017", **k),
    "froc": lambda _, **k: hilum.plot.froc(froc({"a": MARKS}, {"a": MARKS}, ["a"]), **k),
    "histogram": hilum.plot.histogram,
    "histogram of all tissues": lambda s, **k: hilum.plot.histogram(s, tissues="all", **k),
    "histogram of lungs": lambda s, **k: hilum.plot.histogram(s, mask=s.lungs, **k),
    "montage": hilum.plot.montage,
    "coronal montage": lambda s, **k: hilum.plot.montage(replace(s, lungs=None), plane="coronal", **k),
    "nodules": hilum.plot.nodules,
    "nodule": lambda s, **k: hilum.plot.nodules(s, most=1, **k),
    "overview": hilum.plot.overview,
    "steps": lambda s, **k: hilum.plot.steps(s, index=30, **k),
    "steps of hilum": lambda s, **k: hilum.plot.steps(s, method="hilum", **k),
    "surface": hilum.plot.surface,
    "skeleton": lambda s, **k: hilum.plot.surface(s, kind="skeleton", threshold_hu=200, **k),
    "window": hilum.plot.window,
    "window of a fine slope": lambda s, **k: hilum.plot.window(s, rescale=(0.0001, -1024.0), **k),
}


def shown_texts(figure):
    """Every text of a drawn figure that can be seen, with its box in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    ticks, seen = set(), []
    for panel in figure.findobj(matplotlib.axes.Axes):
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-6 * (high - low)
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                ticks |= {tick.label1, tick.label2}
                if panel.axison and low - slack <= tick.get_loc() <= high + slack:
                    seen += [label for label in (tick.label1, tick.label2) if label.get_visible()]
            if not panel.axison:
                ticks |= {axis.label, axis.offsetText}
    others = [text for text in figure.findobj(matplotlib.text.Text) if text not in ticks and text.get_visible()]
    return [(t, t.get_window_extent(renderer)) for t in [*seen, *others] if t.get_text().strip()]


@pytest.mark.parametrize("width_mm", [None, COLUMN_MM])
@pytest.mark.parametrize("kind", DRAW)
def test_no_text_covers_another_or_leaves_the_figure_or_is_too_small(scan, kind, width_mm):
    figure = DRAW[kind](scan, width_mm=width_mm)
    texts = shown_texts(figure)
    assert len(texts) >= 8
    width, height = figure.get_size_inches() * figure.dpi
    assert width_mm is None or (width, figure.dpi) == (pytest.approx(COLUMN_MM / 25.4 * 300), 300)
    for text, box in texts:
        assert text.get_fontsize() >= 6, text.get_text()
        assert "$" not in text.get_text().replace(r"\$", ""), "an exponent is smaller than its font"
        assert box.x0 >= -1, text.get_text()
        assert box.y0 >= -1, text.get_text()
        assert box.x1 <= width + 1, text.get_text()
        assert box.y1 <= height + 1, text.get_text()
    pixel = figure.dpi / 100
    for (one, a), (two, b) in combinations(texts, 2):
        across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, down) <= pixel, (one.get_text(), two.get_text())


def test_texts_that_cover_each_other_are_found():
    """The measure of the test above sees a collision."""
    figure = hilum.plot.froc(froc({"a": MARKS}, {"a": MARKS}, ["a"]))
    figure.axes[0].set_xticks([1.0, 1.01], ["one label", "another"])
    one, two = (box for text, box in shown_texts(figure) if text.get_text() in {"one label", "another"})
    assert one.overlaps(two)


def lightness(color):
    """L* of CIELAB, 0 to 100, which a gray print keeps."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return 116 * luminance ** (1 / 3) - 16


def test_lungs_airways_and_nodules_differ_in_gray():
    for lung in colors.LABELS.values():
        assert abs(lightness(lung) - lightness(colors.NODULE)) > 15
    for one, two in combinations([*colors.LABELS.values()], 2):
        assert abs(lightness(one) - lightness(two)) > 15 or colors.dashes(one) != colors.dashes(two)
    assert lightness("#ffffff") == pytest.approx(100)
    assert lightness("#000000") == pytest.approx(-16)


def test_colors_are_those_of_the_report_and_the_viewer():
    drawn = [*colors.LABELS.values(), colors.NODULE]
    as_bytes = [tuple(round(255 * part) for part in to_rgb(color)) for color in drawn]
    assert as_bytes == list(preview_slices.COLORS)
    source = Path(__file__).parents[1] / "viewer" / "web" / "slice.ts"
    line = re.search(
        r"LUNG_COLORS.*?= \{(.*?)\};\s*export const NODULE_COLOR: Color = \[(.*?)\]", source.read_text(), re.DOTALL
    )
    numbers = [*re.findall(r"\[([\d, ]+)\]", line[1]), line[2]]
    assert [tuple(map(int, one.split(","))) for one in numbers] == as_bytes


def test_the_legend_names_every_line_with_its_style(scan):
    figure = hilum.plot.overview(scan, slices=2)
    (legend,) = figure.legends
    lines = {text.get_text(): line for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)}
    right = scan.lungs.volume_ml(1)
    assert lines[f"right lung {right:.0f} ml"].get_color() == colors.LABELS[1]
    assert lines[f"left lung {scan.lungs.volume_ml(2):.0f} ml"].is_dashed()
    assert not lines[f"right lung {right:.0f} ml"].is_dashed()
    assert lines["nodules (sphere)"].get_color() == colors.NODULE
    assert any(text.startswith("lobes right upper lobe") for text in lines)


def block_with_table():
    """A body with an arm above its head, and under it a table that is longer."""
    grid = hilum.Geometry((40, 60, 60), (4.0, 4.0, 4.0))
    array = np.full(grid.shape, -1000, np.int16)
    array[0:30, 20:45, 15:45] = 40
    array[30:36, 10:14, 15:18] = 40
    array[:, 50:51, 5:55] = 200
    return hilum.Volume(array, grid)


@pytest.mark.parametrize(("plane", "first", "last"), [("axial", 0, 29), ("coronal", 20, 44), ("sagittal", 15, 44)])
def test_a_montage_shows_the_body_without_the_table(plane, first, last):
    extent = drawn_slices(hilum.Scan("", block_with_table()), PLANES[plane], 1)
    assert (extent.indices[0], extent.indices[-1], extent.what) == (first, last, "body")
    title = " ".join(hilum.plot.montage(block_with_table(), plane=plane, every=1).get_suptitle().split())
    count = 40 if plane == "axial" else 60
    before = f"1 to {first} and " if first else ""
    assert f"left out, no body: {before}{last + 2} to {count};" in title


@pytest.mark.parametrize("every", [1, 5, 40])
def test_a_montage_of_known_lungs_shows_lungs_and_nodules_alone(scan, every):
    for name, plane in PLANES.items():
        others = tuple(axis for axis in range(3) if axis != plane.axis)
        there = np.flatnonzero(np.isin(scan.lungs.array, (1, 2)).any(axis=others))
        ends = min(there), max(there)
        indices = drawn_slices(replace(scan, nodules=()), plane, every).indices
        expected = [k for k in range(0, scan.ct.shape[plane.axis], every) if ends[0] <= k <= ends[1]]
        assert list(indices) == expected, name
    x, y, _ = scan.ct.geometry.center
    low = replace(scan, nodules=(hilum.Nodule(tuple(scan.ct.geometry.index_to_world((1, 48, 48)).tolist()), 5.0),))
    assert drawn_slices(low, PLANES["axial"], 1).indices[0] == 1
    outside = replace(scan, nodules=(hilum.Nodule((x, y, 9e5), 5.0),))
    assert drawn_slices(outside, PLANES["axial"], 1) == drawn_slices(replace(scan, nodules=()), PLANES["axial"], 1)


def test_thin_lungs_between_two_slices_give_one_slice(scan):
    array = np.zeros(scan.ct.shape, np.uint8)
    array[33, 40:50, 40:50] = 1
    thin = replace(scan, lungs=hilum.Mask(array, scan.ct.geometry), nodules=())
    assert list(drawn_slices(thin, PLANES["axial"], 10).indices) == [30]


@pytest.mark.parametrize("hu", [-1000, -1024, 0])
def test_a_volume_without_a_patient_is_drawn_whole(hu):
    grid = hilum.Geometry((12, 40, 40), (5.0, 5.0, 5.0))
    empty = hilum.Volume(np.full(grid.shape, hu, np.int16), grid)
    nothing = hilum.Mask(np.zeros(grid.shape, np.uint8), grid)
    for lungs in (None, nothing):
        title = hilum.plot.montage(empty, every=1, lungs=lungs).get_suptitle()
        assert title.startswith("axial slices 1 to 12 of 12")
        assert "left out" not in title
    for draw in (hilum.plot.histogram, hilum.plot.overview, hilum.plot.window):
        assert len(shown_texts(draw(empty))) > 5
    with pytest.raises(hilum.InputError, match="no nodule"):
        hilum.plot.nodules(empty)
    with pytest.raises(hilum.InputError, match="lung"):
        hilum.plot.surface(empty)


def test_a_histogram_shows_tissues_of_the_chest_unless_others_are_asked_for(scan):
    def tissues(**options):
        texts = " ".join(t.get_text() for t, _ in shown_texts(hilum.plot.histogram(scan, **options)))
        return {tissue.name for tissue in hilum.TISSUES if f"{tissue.name}, " in texts}

    every = {tissue.name for tissue in hilum.TISSUES}
    assert tissues() == every - {"CSF", "white matter", "gray matter"}
    assert tissues(tissues="all") == every
    assert tissues(tissues=["CSF", "air"]) == tissues(tissues="air, CSF") == {"CSF", "air"}
    for wrong in ("brain", "air,brain", "", [], ["air", "Air"]):
        with pytest.raises(hilum.InputError, match=r"no tissue '.*'.*chest, all, or some of: air, lung"):
            hilum.plot.histogram(scan, tissues=wrong)


@pytest.mark.parametrize("width_mm", [79.9, 500.1, 0.0, float("nan")])
@pytest.mark.parametrize("kind", ["froc", "histogram", "montage", "overview", "surface", "window", "nodules", "steps"])
def test_a_width_that_no_paper_has_is_refused(scan, kind, width_mm):
    with pytest.raises(hilum.InputError, match="expected 80 to 500"):
        DRAW[kind](scan, width_mm=width_mm)


def test_the_command_line_draws_for_a_paper_column(scan, tmp_path, capsys):
    from PIL import Image

    hilum.write(scan.ct, tmp_path / "a.nii.gz")
    words = ["plot", "histogram", str(tmp_path / "a.nii.gz"), "--out", str(tmp_path / "a.png")]
    assert main([*words, "--width-mm", "85", "--tissues", "air,lung,bone"]) == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == pytest.approx(85 / 25.4 * 300, abs=1)
    assert main([*words, "--tissues", "brain"]) == 1
    assert main([*words, "--width-mm", "8"]) == 1
    assert "no tissue 'brain'" in (told := capsys.readouterr().err)
    assert "expected 80 to 500" in told
