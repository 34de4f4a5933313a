"""`hilum plot KIND` writes a picture, or refuses in one line."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest
from PIL import Image

import hilum
from hilum import batch
from hilum.cli import main
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipes import parse_recipe

KINDS = ("histogram", "montage", "surface", "steps", "nodules", "window", "overview")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plot")
    phantom = make_phantom(seed=5, shape=(40, 80, 80), spacing=(7.0, 5.0, 5.0))
    series = write_dicom_series(phantom, folder / "series")
    uid = hilum.read(series).series_uid
    table = folder / "annotations.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"])
        writer.writerows([uid, *nodule.center, nodule.diameter_mm] for nodule in phantom.scan.nodules)
    hilum.write(phantom.scan.ct, folder / "scan.nii.gz", series_uid=uid)
    for name, recipe in (
        ("run", "[resample]\nspacing_mm=4.0\n"),
        ("unit", "[resample]\ngrid='native'\n[intensity]\noutput='unit'\n"),
    ):
        refs, _ = batch.index([series], annotations=table)
        rows = batch.run(refs, parse_recipe(recipe), folder / name)
        assert rows[0].status in {"done", "repaired"}
    return {
        "series": series,
        "table": table,
        "file": folder / "scan.nii.gz",
        "run": folder / "run",
        "unit": folder / "unit",
    }


def call(capsys, *words):
    status = main(["plot", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, [line for line in err.splitlines() if not line.startswith("note: ")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_a_finished_scan(capsys, inputs, tmp_path, kind):
    (scan,) = (inputs["run"] / "scans").iterdir()
    status, out, err = call(capsys, kind, scan, "--out", tmp_path / "a.png")
    assert (status, err) == (0, [])
    assert out.startswith(str(tmp_path / "a.png"))
    with Image.open(tmp_path / "a.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_files_series_and_runs_are_drawn_also_as_vectors(capsys, inputs, tmp_path):
    for source, name, words in (
        (inputs["file"], "a.pdf", ["histogram"]),
        (inputs["series"], "b.svg", ["nodules", "--annotations", inputs["table"], "--most", "1"]),
        (inputs["run"], "c.png", ["montage", "--plane", "coronal", "--every", "20", "--preset", "bone", "--dpi", "60"]),
        (inputs["file"], "d.png", ["histogram", "--lungs"]),
        (inputs["series"], "e.png", ["steps", "--method", "hilum", "--slice", "20"]),
    ):
        status, _, err = call(capsys, *words, source, "--out", tmp_path / name)
        assert (status, err) == (0, []), name
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "b.svg").read_text().rstrip().endswith("</svg>")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_picture_drawn_twice_has_the_same_bytes(capsys, inputs, tmp_path, suffix, monkeypatch):
    for number in ("1", "2"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", number + "000000000")  # what the clock says, years apart
        assert call(capsys, "montage", inputs["file"], "--out", tmp_path / (number + suffix))[0] == 0
    assert (tmp_path / ("1" + suffix)).read_bytes() == (tmp_path / ("2" + suffix)).read_bytes()


def test_slope_and_intercept_come_from_the_files(capsys, inputs, tmp_path):
    assert call(capsys, "window", inputs["series"], "--out", tmp_path / "a.svg")[0] == 0
    assert "an example" not in (tmp_path / "a.svg").read_text()
    assert call(capsys, "window", inputs["file"], "--out", tmp_path / "b.svg")[0] == 0
    assert "an example" in (tmp_path / "b.svg").read_text()


def test_a_scan_is_read_as_stated(capsys, inputs, tmp_path):
    shifted = hilum.read(inputs["file"]).ct
    hilum.write(hilum.Volume(shifted.array + 1024, shifted.geometry), tmp_path / "shifted.nii.gz")
    for source, out, *stated in ((inputs["file"], "a"), (tmp_path / "shifted.nii.gz", "b", "--hu-offset", "-1024")):
        assert call(capsys, "histogram", source, "--out", tmp_path / f"{out}.png", *stated)[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    words = ("histogram", inputs["run"], "--out", tmp_path / "c.png", "--max-gap-mm", "6")
    status, _, err = call(capsys, *words)
    assert (status, len(err)) == (1, 1)
    assert "is a finished scan" in err[0]


def test_recipes_are_compared_on_a_scan_as_it_was_read(capsys, inputs, tmp_path):
    recipe = tmp_path / "coarse.toml"
    recipe.write_text("[resample]\nspacing_mm = 4.0\n")
    words = ("compare", inputs["series"], "--recipe", recipe, "--beside", recipe, "--out", tmp_path / "a.png")
    assert call(capsys, *words) == (
        0,
        f"{tmp_path / 'a.png'}: {(tmp_path / 'a.png').stat().st_size / 1e6:.2f} MB\n",
        [],
    )
    status, _, err = call(capsys, "compare", inputs["run"], "--out", tmp_path / "b.png")
    assert (status, len(err)) == (1, 1)
    assert "original scan" in err[0]


def test_a_mesh_is_written_with_or_without_a_picture(capsys, inputs, tmp_path):
    for suffix in ("stl", "ply", "glb"):
        words = ("surface", inputs["run"], "--mesh", tmp_path / f"a.{suffix}", "--cell-mm", "6")
        status, out, err = call(capsys, *words)
        assert (status, err) == (0, [])
        assert "right lung" in out
        assert "left lung" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.glb", "a.ply", "a.stl"]


def test_a_refusal_is_one_line_and_leaves_no_file(capsys, inputs, tmp_path):
    out = tmp_path / "a.png"
    empty = tmp_path / "empty"
    (empty / "scans").mkdir(parents=True)
    (empty / "recipe.toml").touch()
    for words, told in (
        (("montage", tmp_path / "gone", "--out", out), "no such file"),
        (("montage", inputs["file"], "--out", tmp_path / "a.jpg"), ".png, .svg, .pdf"),
        (("montage", inputs["file"], "--out", tmp_path / "no" / "a.png"), "cannot be written"),
        (("montage", inputs["unit"], "--out", out), "unit range"),
        (("montage", empty, "--out", out), "0 finished scans"),
        (("montage", inputs["file"], "--every", "0", "--out", out), "every is 0"),
        (("montage", inputs["file"], "--dpi", "5", "--out", out), "dpi is 5"),
        (("nodules", inputs["file"], "--out", out), "no nodule"),
        (("steps", inputs["file"], "--slice", "0", "--out", out), "counted from 1"),
        (("steps", inputs["file"], "--slice", "41", "--out", out), "no slice 40"),
        (("surface", inputs["file"]), "--out for a picture"),
        (("surface", inputs["file"], "--mesh", tmp_path / "a.obj"), ".stl .ply .glb"),
        (
            ("surface", inputs["file"], "--kind", "skeleton", "--threshold-hu", "9000", "--out", out),
            "nothing in the body is above",
        ),
        (("compare", inputs["file"], "--recipe", "none", "--out", out), "no recipe"),
    ):
        status, said, err = call(capsys, *words)
        assert (status, said) == (1, ""), words
        assert len(err) == 1, words
        assert told in err[0], words
        assert len(err[0]) <= 300
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]
    assert main(["plot", "pie", "x", "--out", "y.png"]) == 2
    assert main(["plot", "montage", str(inputs["file"]), "--out", str(out), "--plane", "oblique"]) == 2


def test_a_missing_extra_is_named(capsys, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("hilum.cli.plot_files.find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for kind in (*KINDS, "compare"):
        status, _, err = call(capsys, kind, inputs["file"], "--out", tmp_path / "a.png")
        assert (status, len(err)) == (1, 1)
        assert "pip install 'hilum[plots]'" in err[0]


@pytest.mark.real
@pytest.mark.parametrize("kind", [*KINDS, "compare"])
def test_every_kind_draws_a_series_of_thick_slices(capsys, real_data, tmp_path, kind):
    if kind == "nodules":
        pytest.skip("nobody annotated this patient")
    (series,) = (real_data / "lung-pet-ct-dx-A0002").glob("*/*B40f*")
    status, _, err = call(capsys, kind, series, "--out", tmp_path / "a.png")
    assert (status, err) == (0, [])
    assert (tmp_path / "a.png").stat().st_size > 20_000
