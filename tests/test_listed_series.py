"""`hilum.series` gives as values what `hilum info` prints."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import hilum
from hilum.cli import main
from hilum.console import inspection_text
from hilum.errors import MissingInputError
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two series and a volume file."""
    root = tmp_path_factory.mktemp("series")
    chest = make_phantom(seed=1, shape=(40, 48, 48), spacing=(7.5, 8.0, 8.0))
    thin = make_phantom(seed=2, shape=(48, 48, 48), spacing=(6.25, 8.0, 8.0))
    write_dicom_series(chest, root / "one")
    write_dicom_series(thin, root / "two")
    hilum.write(chest.scan, root / "ct.nii.gz")
    return root


def test_the_values_are_those_of_the_command(folder, capsys):
    found = hilum.series(folder)
    assert isinstance(found, tuple)
    assert main(["info", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one.uid, one.slices, one.kernel, one.series_number, one.folder, one.usable) for one in found] == [
        tuple(each[key] for key in ("series_uid", "slices", "kernel", "number", "folder", "usable")) for each in told
    ]
    assert [list(one.spacing) for one in found] == [each["geometry"]["spacing"] for each in told]
    assert main(["info", str(folder)]) == 0
    assert capsys.readouterr().out == inspection_text(found) + "\n"


def test_a_number_reads_its_series(folder):
    found = hilum.series(folder)
    assert [one.number for one in found] == [1, 2, 3]
    assert [one.format for one in found] == ["DICOM", "DICOM", "nii.gz"]
    assert sorted(one.shape for one in found) == [(40, 48, 48), (40, 48, 48), (48, 48, 48)]
    assert [one.chosen for one in found].count(True) == 1
    for one in found[:2]:
        for scan in (hilum.read(one.path, volume=one.number), hilum.read(folder, series=str(one.number))):
            assert scan.series_uid == one.uid
            assert scan.ct.geometry == one.geometry
    assert np.array_equal(hilum.read(found[2].path).ct.shape, found[2].shape)
    chosen = next(one for one in found if one.chosen)
    assert hilum.read(folder).series_uid == chosen.uid


def test_headers_alone_say_that_pixels_were_not_read(folder):
    assert {one.pixels_read for one in hilum.series(folder / "one", pixels=False)} == {False}
    assert {one.pixels_read for one in hilum.series(folder / "one")} == {True}


def test_what_cannot_be_read_is_listed_with_its_reason(tmp_path):
    (tmp_path / "broken.nrrd").write_text("not a volume")
    notes = []
    (one,) = hilum.series(tmp_path / "broken.nrrd", on_note=notes.append)
    assert not one.usable
    assert one.spacing is None
    assert one.shape is None
    assert [finding.action for finding in one.findings] == ["refused"]
    with pytest.raises(MissingInputError, match="no such file"):
        hilum.series(tmp_path / "nowhere")


def test_a_value_cannot_be_changed(folder):
    one = hilum.series(folder / "ct.nii.gz")[0]
    with pytest.raises(FrozenInstanceError):
        one.number = 3
    assert hash(one) == hash(hilum.series(folder / "ct.nii.gz")[0])
