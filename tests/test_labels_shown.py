"""Label maps in previews, pictures, the report and ``scans.csv``: shown where they are, and nothing new elsewhere."""

from __future__ import annotations

import csv
import shutil
import struct
from collections import defaultdict
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from browser import browser, find
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from small_runs import append_row

import hilum
from hilum import cli
from hilum.ops.labels import overlay
from hilum.ops.preview import draw_preview
from hilum.ops.preview_slices import COLORS, LABEL_PALETTE, PALETTE
from hilum.outputs.ledger import Row
from hilum.outputs.scans_index import COLUMNS
from hilum.outputs.store import store_scan
from hilum.pictures.montage import montage
from hilum.pictures.overview import overview
from hilum.pictures.window import window
from hilum.report.gather import gather
from hilum.report.page import write_report
from hilum.report.risk import LOOK
from hilum.scan import LabelMap, Note

EVIL = "<script>window.hacked=1</script><img src=x onerror='window.hacked=2'>\u202e"
GRID = hilum.Geometry((30, 48, 40), (2.0, 1.0, 1.5), (-20.0, 5.0, 100.0))

needs_browser = pytest.mark.skipif(find() is None, reason="no Chromium here (Debian: apt-get install chromium)")


def box(value=1, *, grid=GRID, z=(6, 20), y=(20, 30), x=(8, 16)):
    array = np.zeros(grid.shape, np.uint8)
    array[slice(*z), slice(*y), slice(*x)] = value
    return array


def scan_of(**maps):
    array = np.random.default_rng(1).integers(-1000, 100, GRID.shape).astype(np.int16)
    lungs = box(1, y=(8, 40), x=(5, 18)) + box(2, y=(8, 40), x=(22, 35))
    return hilum.Scan(series_uid="1.2", ct=hilum.Volume(array, GRID), lungs=hilum.Mask(lungs, GRID), label_maps=maps)


TUMOR = LabelMap(hilum.Mask(box(), GRID), {"tumor": 1})
PARTS = LabelMap(hilum.Mask(box(1) + box(3, y=(30, 38)), GRID), {"upper": 3, "lower": 1})


# ---- colors


def linear(color):
    parts = np.array(color) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


SEEN = {  # Machado et al. 2009, severity 1: what an eye sees
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)


def lab(color, eye):
    white = TO_XYZ @ np.ones(3)
    x, y, z = np.cbrt(TO_XYZ @ np.clip(np.array(SEEN[eye]) @ linear(color), 0, 1) / white)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", SEEN)
def test_every_eye_tells_labels_from_one_another_and_from_lungs_and_nodules(eye):
    for one, other in combinations([*COLORS, *overlay.COLORS], 2):
        assert np.linalg.norm(lab(one, eye) - lab(other, eye)) > 10, (one, other)


def test_a_label_has_the_same_color_whatever_the_order_of_the_maps():
    assert overlay.number_colors({"tumor": {"a": 1}, "lobes": {"b": 2, "c": 1}}) == overlay.number_colors(
        {"lobes": {"c": 1, "b": 2}, "tumor": {"a": 1}}
    )
    many = overlay.number_colors({f"m{k:02}": {"m": 1} for k in range(20)})
    assert [many[f"m{k:02}"][1] for k in range(20)] == [k % len(overlay.COLORS) for k in range(20)]


# ---- preview


def palette_bytes(folder):
    data = (folder / "preview.png").read_bytes()
    return struct.unpack(">I", data[33:37])[0]


def stored(scan, folder, name="one"):
    store_scan(
        scan, folder / "scans", scan_id=name, file_format="npy", source=scan.ct.geometry, recipe_name="mine",
        recipe_sha256="0", fingerprint="f" * 64, preview=draw_preview(scan),
    )  # fmt: skip
    return folder / "scans" / name


def test_labels_are_outlined_and_all_other_pixels_stay(tmp_path):
    plain, shown = draw_preview(scan_of()), draw_preview(scan_of(parts=PARTS, tumor=TUMOR))
    changed = shown.pixels != plain.pixels
    assert changed.any()
    assert set(np.unique(shown.pixels[changed])) == {len(PALETTE) + 1, len(PALETTE) + 2}  # `lower` lies under the tumor
    assert plain.pixels.max() < len(PALETTE)
    assert shown.panels == plain.panels
    assert palette_bytes(stored(scan_of(), tmp_path / "a")) == 3 * len(PALETTE)
    assert palette_bytes(stored(scan_of(tumor=TUMOR), tmp_path / "b")) == 3 * len(LABEL_PALETTE)


def test_an_outline_lies_where_the_label_is():
    scan = scan_of(tumor=TUMOR)
    preview = draw_preview(scan)
    axial = preview.panels[2]
    part = preview.pixels[axial.top : axial.top + axial.height, axial.left : axial.left + axial.width]
    rows, columns = np.nonzero(part == len(PALETTE))
    assert axial.place in range(6, 20)
    scale = axial.height / GRID.shape[1], axial.width / GRID.shape[2]
    found = [
        rows.min() / scale[0],
        (rows.max() + 1) / scale[0],
        columns.min() / scale[1],
        (columns.max() + 1) / scale[1],
    ]
    assert np.allclose(found, [20, 30, 8, 16], atol=0.6)


def test_the_grid_of_a_label_map_and_the_axes_do_not_matter():
    fine = hilum.Geometry((60, 96, 80), (1.0, 0.5, 0.75), GRID.index_to_world((-0.25, -0.25, -0.25)))
    array = np.zeros(fine.shape, np.uint8)
    array[12:40, 40:60, 16:32] = 1
    other = LabelMap(hilum.Mask(array, fine), {"tumor": 1})
    expected = draw_preview(scan_of(tumor=TUMOR)).pixels
    assert (draw_preview(scan_of(tumor=other)).pixels == expected).all()
    turned = hilum.Geometry(
        GRID.shape, GRID.spacing, tuple(GRID.index_to_world((29, 0, 39))), ((0, 0, -1), (0, 1, 0), (-1, 0, 0))
    )
    back = LabelMap(hilum.Mask(TUMOR.mask.array[::-1, :, ::-1], turned), {"tumor": 1})
    assert (draw_preview(scan_of(tumor=back)).pixels == expected).all()


# ---- report


def write_run(folder, scans):
    for name, scan in scans.items():
        stored(scan, folder, name)
        append_row(folder, Row(id=name, status="done", notes=[f"{note.code}: {note.text}" for note in scan.notes]))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    empty = LabelMap(hilum.Mask(np.zeros(GRID.shape, np.uint8), GRID), {"tumor": 1})
    evil = LabelMap(TUMOR.mask, {EVIL: 1})
    many = {f"region-{k:02}": TUMOR for k in range(20)}
    lost = Note("label-lost", "tumor, 0.01 ml, is too small for the output's voxels: not in the output")
    scans = {"both": scan_of(parts=PARTS, tumor=TUMOR), "empty": replace(scan_of(tumor=empty), notes=(lost,)),
             "evil": scan_of(odd=evil), "many": scan_of(**many), "plain": scan_of()}  # fmt: skip
    return write_run(tmp_path_factory.mktemp("run"), scans)


def test_the_report_knows_every_label_and_what_happened_to_it(run, tmp_path):
    entries = {entry.id: entry for entry in gather(run).entries}
    ml = 14 * 10 * 8 * 3.0 / 1000
    assert entries["both"].label_maps["tumor"].volumes_ml == {"tumor": round(ml, 4)}
    assert entries["both"].label_colors["tumor"] == {"tumor": overlay.HEX_COLORS[2]}
    assert entries["both"].label_colors["parts"] == {"lower": overlay.HEX_COLORS[0], "upper": overlay.HEX_COLORS[1]}
    assert [(flag.name, flag.level) for flag in entries["empty"].flags] == [("label-lost", LOOK)]
    assert entries["plain"].label_maps == {}
    text = write_report(run, tmp_path / "page.html").path.read_text()
    row = '<td>tumor</td><td>tumor</td><td class="number">2</td><td class="number">1</td><td>3.36</td>'
    assert row in text
    assert '<p id="labeled">4 of 5 finished scans have label maps.' in text
    assert "window.hacked=1</script>" not in text
    assert "<img src=x" not in text


def test_the_report_of_a_run_without_label_maps_has_none(tmp_path):
    text = write_report(write_run(tmp_path, {"plain": scan_of()})).path.read_text()
    assert "<h3>Label maps</h3>" not in text
    assert 'id="labeled"' not in text


@needs_browser
def test_the_page_filters_by_labels_and_names_their_colors(run, tmp_path):
    path = write_report(run, tmp_path / "page.html").path
    choose = """(name) => {
        const one = document.getElementById("labels");
        one.value = name;
        one.dispatchEvent(new Event("change"));
        return [...document.querySelectorAll(".open")].map((button) => button.textContent).sort().join();
    }"""
    keys = "[...document.querySelectorAll('.detail .key')]"
    with browser() as page:
        page.open(path)
        assert page.run(f"({choose})('with')") == "both,empty,evil,many"
        assert page.run(f"({choose})('without')") == "plain"
        assert page.run(f"({choose})('map tumor')") == "both,empty"
        assert page.run(f"({choose})('')") == "both,empty,evil,many,plain"
        assert (
            page.run("document.querySelector('tr[data-number] td:last-child').textContent") == "tumor"
        )  # the riskiest
        page.run("document.querySelectorAll('.open').forEach((button) => button.click())")
        colors = page.run(f"{keys}.map((key) => key.textContent + ' ' + key.style.getPropertyValue('--key'))")
        assert f"upper of parts {overlay.HEX_COLORS[1]}" in colors
        assert page.run("document.body.innerText").count("region-03 and 16 more") == 1
        assert page.run("window.hacked === undefined && !document.querySelector('main img[src=x]')")
        assert page.complaints() == []
        page.open(write_report(write_run(tmp_path / "plain", {"plain": scan_of()})).path)
        for name in ("labels-choice", "labels-key"):
            assert page.run(f"document.getElementById('{name}').hidden")
        assert "Labels" not in page.run("document.querySelector('thead').innerText")


# ---- scans.csv


def test_scans_csv_names_label_maps_and_has_no_column_without_them(tmp_path):
    (tmp_path / "coarse.toml").write_text("[resample]\nspacing_mm = 6.0\n")
    (tmp_path / "ct").mkdir()
    (tmp_path / "labels").mkdir()
    for name in ("case1", "case2"):
        hilum.write(scan_of().ct, tmp_path / f"ct/{name}.nii.gz")
    for name in ("tumor", "zones"):
        hilum.write(TUMOR.mask, tmp_path / f"labels/case2.{name}.nii.gz")
    command = ["run", str(tmp_path / "ct"), "--recipe", str(tmp_path / "coarse.toml"), "--workers", "1"]
    assert cli.main([*command, "--out", str(tmp_path / "plain")]) == 0
    assert next(csv.reader((tmp_path / "plain/scans.csv").read_text().splitlines())) == list(COLUMNS)
    assert cli.main([*command, "--out", str(tmp_path / "labeled"), "--labels", str(tmp_path / "labels")]) == 0
    lines = (tmp_path / "labeled/scans.csv").read_text().splitlines()
    named = {row["path"]: row["label_maps"] for row in csv.DictReader(lines)}
    assert named == {"case1.nii.gz": "", "case2.nii.gz": "tumor zones"}


# ---- pictures


def lines_by_color(figure):
    """The outlines of each panel, by their color."""
    found = defaultdict(list)
    for panel in figure.findobj(LineCollection):
        for color, path in zip(panel.get_colors(), panel.get_paths(), strict=True):
            found[to_hex(color)].append(path.vertices)
    return found


def legend_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def pictures_of(scan):
    yield overview(scan)
    yield window(scan, index=10)
    yield montage(scan.ct, every=4, lungs=scan.lungs, label_maps=scan.label_maps)


def test_pictures_outline_labels_and_name_them():
    scan = scan_of(parts=PARTS, tumor=TUMOR)
    for figure in pictures_of(scan):
        found = lines_by_color(figure)
        assert found.keys() >= set(overlay.HEX_COLORS[:3])
        assert legend_of(figure)[-3:] == ["parts lower 3.36 ml", "parts upper 2.69 ml", "tumor 3.36 ml"]
        assert [text.split()[1] for text in legend_of(figure)[:-3]] in ([], ["lung", "lung"])
        colors_of_lines = [to_hex(line.get_color()) for line in figure.legends[0].get_lines()]
        assert colors_of_lines[-3:] == list(overlay.HEX_COLORS[:3])
    outline = lines_by_color(window(scan, index=10))[overlay.HEX_COLORS[2]][0]  # x and y in mm
    assert np.allclose([outline.min(axis=0), outline.max(axis=0)], [(8 * 1.5, 20.0), (16 * 1.5, 30.0)], atol=0.01)


def test_pictures_of_a_scan_without_label_maps_name_the_lungs_alone():
    sizes = [figure.get_size_inches().tolist() for figure in pictures_of(scan_of())]
    for figure, plain, (width, height) in zip(
        pictures_of(scan_of(tumor=TUMOR)), pictures_of(scan_of()), sizes, strict=True
    ):
        assert all("lung" in text for one in plain.legends for text in [part.get_text() for part in one.get_texts()])
        assert not lines_by_color(plain).keys() & set(overlay.HEX_COLORS)
        assert figure.get_size_inches()[0] == width
        assert figure.get_size_inches()[1] >= height  # a short name has room beside those of the lungs


def test_a_legend_is_bounded_and_draws_names_as_they_are(tmp_path):
    scan = scan_of(**{f"m{k:02}": LabelMap(TUMOR.mask, {"$x^2$\n\x1b[2J": 1}) for k in range(50)})
    figure = overview(scan, slices=2)
    shown = legend_of(figure)
    assert len(shown) == 2 + 41  # both lungs come first
    assert shown[-1] == "and 10 more"
    assert all("\n" not in text and "\x1b" not in text and r"\$x^2\$" in text for text in shown[2:-1])
    figure.savefig(tmp_path / "one.png", dpi=40)
    (legend,) = figure.legends
    assert figure.bbox.padded(1).fully_containsx(legend.get_window_extent().x1)


@pytest.mark.parametrize("columns", [1, 3, 8])
def test_a_legend_of_long_names_lies_in_the_figure(columns):
    names = {f"segment {'W' * 40} number {value}": value for value in range(1, 12)}
    scan = scan_of(**{"a map with a long name": LabelMap(TUMOR.mask, names), "b": LabelMap(TUMOR.mask, {"b": 1})})
    figure = montage(scan, every=1, columns=columns)
    figure.canvas.draw()
    (legend,) = figure.legends
    assert figure.bbox.padded(1).contains(*legend.get_window_extent().min)
    assert figure.bbox.padded(1).contains(*legend.get_window_extent().max)
    assert all(text.endswith(" ml") for text in legend_of(figure))


def test_the_command_draws_the_label_maps_of_a_finished_scan(run, tmp_path, capsys):
    for kind in ("montage", "overview", "window"):
        assert cli.main(["plot", kind, str(run / "scans/both"), "--out", str(tmp_path / f"{kind}.svg")]) == 0
        text = (tmp_path / f"{kind}.svg").read_text()
        assert text.count(overlay.HEX_COLORS[2]) > 1
    capsys.readouterr()
    copy = shutil.copytree(run / "scans/both", tmp_path / "both")
    path = copy / "labels/tumor.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    assert cli.main(["plot", "overview", str(copy), "--out", str(tmp_path / "damaged.png")]) != 0
    said = capsys.readouterr().err
    assert "labels/tumor.npy" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "damaged.png").exists()
