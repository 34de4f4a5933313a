"""What the README shows is run, and what it names is there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import hilum
from hilum.cli import program
from hilum.io.annotations.luna import read_annotations
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series

README = Path(__file__).resolve().parents[1] / "README.md"
TEXT = README.read_text() if README.is_file() else ""

pytestmark = [
    pytest.mark.usefixtures("no_workers"),
    pytest.mark.skipif(not TEXT, reason="the tests of an installed package come without the README"),
]


def test_the_five_lines_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    phantom = make_phantom(seed=5, shape=(40, 80, 80), spacing=(7.5, 4.5, 4.5))
    series = write_dicom_series(phantom, tmp_path / "path" / "to" / "series")
    uid = hilum.read(series).series_uid
    rows = [f"{uid},{','.join(map(str, n.center))},{n.diameter_mm}" for n in phantom.scan.nodules]
    Path("annotations.csv").write_text("\n".join(["seriesuid,coordX,coordY,coordZ,diameter_mm", *rows, ""]))
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    exec(block, names)  # noqa: S102 - our own README
    assert len([line for line in block.splitlines() if line.strip()]) == 5
    assert names["iso"].ct.spacing == (1.0, 1.0, 1.0)
    assert len(names["scan"].nodules) == len(read_annotations(Path("annotations.csv"), series_uid=uid)[0]) == 5
    assert set(names["lungs"].array[::9, ::9, ::9].ravel()) == {0, 1, 2}
    assert hilum.read("ct.nii.gz").ct.shape == names["iso"].ct.shape


def test_every_command_shown_exists_and_every_file_linked_is_there():
    blocks = "".join(re.findall(r"```.*?```", TEXT, re.DOTALL))
    shown = set(re.findall(r"^hilum (\w+)", blocks, re.MULTILINE)) | set(re.findall(r"`hilum (\w+)", TEXT))
    assert shown <= set(program())
    assert {"run", "info", "convert", "lungs", "nodules", "stats", "recipe"} <= shown
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in link]
    assert len(links) > 5
    for link in links:
        assert (README.parent / link).exists(), link


def test_the_quick_tests_are_there():
    quick = runpy.run_path(str(README.parent / "dev.py"))["QUICK"]
    for name in quick:
        path, _, test = name.partition("::")
        assert f"def {test}(" in (README.parent / path).read_text() if test else (README.parent / path).is_file(), name
