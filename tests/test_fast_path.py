"""The quick way to a DICOM series gives what pydicom gives: every dialect of the phantom, every real file."""

from __future__ import annotations

import pytest
from fuzz_inputs import GRID, truth
from test_dicom import both_ways, read_by_pydicom

from hilum import Volume
from hilum.io.dicom.reader import read_dicom
from hilum.io.folders import list_folder
from hilum.phantom.dicom_dialects import BIG_ENDIAN, DEFLATED, DIALECTS
from hilum.phantom.files import write_dicom_series


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_reads_the_same_through_pydicom(tmp_path, monkeypatch, name):
    hu = truth()
    hu[:, :3, :3] = -1024  # where a dialect pads
    folder = write_dicom_series(Volume(hu, GRID), tmp_path / name, dialect=name)
    for path in folder.iterdir():
        quick, slow = both_ways(folder, path.name)
        assert (quick is None) == (DIALECTS[name].transfer_syntax in {BIG_ENDIAN, DEFLATED})
        assert quick in (None, slow)
    quick, slow = read_dicom(folder), read_by_pydicom(monkeypatch, folder)
    assert quick.ct.array.tobytes() == slow.ct.array.tobytes()
    assert (quick.ct.geometry, quick.notes) == (slow.ct.geometry, slow.notes)
    assert quick.ct.geometry.shape == GRID.shape


@pytest.mark.real
def test_every_real_header_reads_the_same_through_pydicom(real_data):
    names = [name for name in list_folder(real_data).files if name.endswith(".dcm")]
    quick = 0
    for name in names:
        plain_header, slow = both_ways(real_data, name)
        assert plain_header in (None, slow), name
        quick += plain_header is not None
    assert len(names) > 500
    assert quick > 0.9 * len(names)


@pytest.mark.real
def test_every_real_series_reads_the_same_through_pydicom(real_data, monkeypatch):
    """All pixels of the largest scan; tests/test_dicom.py has the smaller ones."""
    folder = real_data / "lidc-idri-0314" / "image"
    quick, slow = read_dicom(folder), read_by_pydicom(monkeypatch, folder)
    assert quick.ct.array.tobytes() == slow.ct.array.tobytes()
    assert (quick.ct.geometry, quick.notes) == (slow.ct.geometry, slow.notes)
