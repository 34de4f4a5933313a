"""Refusals that a user meets and that no test of their own room raises; each is one line that says what to do.

The error's class and a word of what is wrong are compared, not the sentence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_metaimage import make

import hilum
from hilum.cli import main
from hilum.datasets import DATASETS
from hilum.errors import (
    AnnotationError,
    FormatError,
    GeometryError,
    HilumError,
    MissingInputError,
    OutputError,
    UnsupportedError,
)
from hilum.geometry import Geometry
from hilum.io.volumes import b2nd, ome_zarr
from hilum.io.volumes.metaimage import read_metaimage
from hilum.scan import Reading
from hilum.volume import Volume

GRID = Geometry((4, 5, 6), (2.0, 1.0, 1.0))
VOLUME = Volume(np.arange(120, dtype=np.int16).reshape(GRID.shape), GRID)


def refused(kind, words, act, *arguments, **options):
    with pytest.raises(kind, match=words) as caught:
        act(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


# ---- files


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"NDims": "4", "DimSize": "5 4 3 1", "ElementSpacing": "0.8 0.7 2.5 1", "Offset": "0 0 0 0",
          "TransformMatrix": "1 0 0 1 0 1 0 0 0 0 1 0 0 0 0 1"}, HilumError, "axis"),
        ({"HeaderSize": "1 2"}, FormatError, "HeaderSize"),
        ({"HeaderSize": "-1", "DimSize": "5 4 4"}, FormatError, "120 of 160 bytes"),
    ],
)  # fmt: skip
def test_a_metaimage_header_that_fits_nothing_is_refused(tmp_path, changes, kind, words):
    refused(kind, words, read_metaimage, make(tmp_path, **changes))


def test_voxels_that_start_inside_the_header_are_refused(tmp_path):
    path = make(tmp_path, ElementDataFile="LOCAL", HeaderSize="7")
    path.write_bytes(path.read_bytes() + bytes(200))
    refused(FormatError, "HeaderSize", read_metaimage, path)


def test_a_nifti_header_without_a_grid_is_refused(tmp_path):
    import nibabel as nib

    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    image.header["sform_code"], image.header["qform_code"] = 0, 1
    image.header["quatern_b"] = image.header["quatern_c"] = 5.0  # no rotation has these
    (tmp_path / "a.nii").write_bytes(image.header.binaryblock + bytes(4 + 120))
    refused(GeometryError, "form", hilum.read, tmp_path / "a.nii")


def test_a_zarr_goes_under_its_own_ending_and_replaces_nothing_else(tmp_path):
    pytest.importorskip("zarr")
    refused(UnsupportedError, r"\.zarr", hilum.write, VOLUME, tmp_path / "a.other")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "notes.txt").write_text("mine")
    refused(OutputError, "a.zarr", ome_zarr.write_zarr, VOLUME, tmp_path / "a.zarr")
    assert (tmp_path / "a.zarr" / "notes.txt").read_text() == "mine"


def test_a_b2nd_goes_under_its_own_ending_and_a_spoiled_one_is_refused(tmp_path):
    pytest.importorskip("blosc2")
    refused(UnsupportedError, r"\.b2nd", hilum.write, VOLUME, tmp_path / "a.other")
    path = tmp_path / "ct.b2nd"
    b2nd.write_b2nd(VOLUME, path)
    whole = path.read_bytes()
    for spoiled in (
        whole[:20],
        whole + b"\0",
        whole[:11] + b"\xff" * 4 + whole[15:],
        whole[:9] + bytes(15) + whole[24:],
    ):
        path.write_bytes(spoiled)
        refused(FormatError, None, b2nd.read_b2nd, path)


# ---- annotations


@pytest.mark.parametrize("points", [[], [[1.0, 2.0]], [[1.0, 2.0, np.nan]]])
def test_an_outline_that_is_no_list_of_points_is_refused(points):
    refused(AnnotationError, "outline", Reading, "1", GRID, contours=(np.array(points, np.float64),))


# ---- data sets


def test_a_data_set_that_is_not_there_or_holds_no_scan_is_refused(tmp_path):
    refused(MissingInputError, "no such", DATASETS["luna16"].index, tmp_path / "gone")
    refused(MissingInputError, "no such", DATASETS["lidc"].index, tmp_path / "gone")
    (tmp_path / "empty" / "subset0").mkdir(parents=True)
    refused(MissingInputError, r"\.mhd", DATASETS["luna16"].index, tmp_path / "empty")


# ---- commands


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two small scans."""
    from small_runs import write_small

    root = tmp_path_factory.mktemp("refusals")
    write_small(root, 2)
    (root / "r.toml").write_text('[resample]\nspacing_mm = 8.0\n[lungs]\nmethod = "none"\n')
    assert main(["run", str(root), "--out", str(root / "out"), "--recipe", str(root / "r.toml")]) in {0, 1}
    return root


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["plot", "histogram", "1.2.0.mhd", "--out", "a.png", "--dpi", "5"], "10 to 1200"),
        (["plot", "surface", "1.2.0.mhd"], "--mesh"),
        (["plot", "histogram", "out", "--out", "a.png"], "2 finished scans"),
        (["plot", "compare", "SCAN", "--out", "a.png"], "finished scan"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_one_line(finished, monkeypatch, capsys, words, told):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(finished)
    scan = next(path for path in Path("out/scans").iterdir())
    status = main([str(scan) if word == "SCAN" else word for word in words])
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert status == 1
    assert len(lines) == 1
    assert told in lines[0]
    assert not Path("a.png").exists()


def test_a_scan_record_of_another_version_is_one_line(finished, tmp_path, capsys):
    import shutil

    pytest.importorskip("matplotlib")
    source = next(path for path in (finished / "out" / "scans").iterdir())
    folder = Path(shutil.copytree(source, tmp_path / "scan"))
    (folder / "scan.json").write_text('{"schema": 999}')
    assert main(["plot", "histogram", str(folder), "--out", str(tmp_path / "a.png")]) == 1
    assert "scan.json" in capsys.readouterr().err
