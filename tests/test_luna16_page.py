"""What the page on LUNA16 shows is run on phantoms, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dsb2017_files import write_dsb2017
from small_runs import finished_scans

from hilum import cli
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_luna16

PAGE = Path(__file__).resolve().parents[1] / "docs" / "luna16.md"
TEXT = PAGE.read_text() if PAGE.is_file() else ""

pytestmark = [
    pytest.mark.usefixtures("no_workers"),
    pytest.mark.skipif(not TEXT, reason="the tests of an installed package come without the docs"),
]


def test_the_page_is_true(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    phantoms = [make_phantom(seed=s, shape=(24, 48, 48), spacing=(3.0, 3.0, 3.0)) for s in (1, 2)]
    write_luna16(phantoms, "LUNA16", candidates=4, masks=True)
    write_dsb2017(phantoms[:1], "DSB2017")
    commands = re.findall(r"^hilum (run .*)$", TEXT, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert cli.main(command.split()) == 0
    assert "2 scans: " in capsys.readouterr().out

    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    exec(block, names)  # noqa: S102 - our own page
    assert names["candidates"].shape == (*names["voxels"].shape[:1], 4)
    assert len(capsys.readouterr().out.splitlines()) == 2

    shown = re.findall(r"^OUT/(\S+)", TEXT, re.MULTILINE)
    assert len(shown) == 8
    for folder, record in finished_scans(Path("OUT")):
        for name in shown:
            assert (Path("OUT") / name.replace("<id>", folder.name)).exists(), name
        assert record.geometry.spacing == (1.0, 1.0, 1.0)
        assert {"given_lungs_dice", "given_lungs_covered"} <= set(record.figures)
        for name in re.findall(r"`(world|voxel|source_voxel|round_trip_mm|voxels|mean_hu|inside_lungs)`", TEXT):
            assert hasattr(record.nodules[0], name)
    ((_, patient),) = finished_scans(Path("OUT2"))
    assert patient.labels == {"cancer": 1}


def test_what_is_linked_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (PAGE.parent / link).exists(), link
