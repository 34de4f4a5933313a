"""Every odd file of the real data: read as the oracles read it, or refused in one line; ``-rP`` shows the table."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pydicom
import pytest
from itk_oracle import itk_read
from test_dicom import read_by_pydicom

import hilum
from hilum.errors import HilumError
from hilum.io.dicom.headers import read_headers
from hilum.io.dicom.hu import frame_to_hu
from hilum.io.dicom.reader import read_dicom
from hilum.io.dicom.voxels import stored_frames
from hilum.io.volumes.formats import SCAN_SUFFIXES, suffix_of
from hilum.testing import assert_same_geometry

pytestmark = pytest.mark.real

_LOSSY = ("4.50", "4.81", "4.91")
_NO_DECODER = ("4.51", "4.53", "4.55")
_DATA_OF_OTHERS = {".zraw", ".raw", ".gz", ".md"}


@pytest.fixture(scope="module")
def root(real_data):
    return real_data / "oddities"


def one_frame(path):
    """HU of the first frame of one file, as a volume would get it, and the voxels of padding."""
    header = read_headers(path.parent, path.name)[0]
    out = np.empty((header.rows, header.columns), np.int16)
    (stored,) = stored_frames(path.parent, [header], np.empty_like(out))
    return out, frame_to_hu(stored, header, out).padding


def by_pydicom_alone(path):
    """Pixels by pydicom's decoders, rescaled and rounded once; padding left as it is."""
    ds = pydicom.dcmread(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders on odd files
        stored = ds.pixel_array
    return np.rint(stored.astype(np.float64) * float(ds.RescaleSlope) + float(ds.RescaleIntercept))


def slices_of(root):
    return [path for path in sorted(root.rglob("*.dcm")) if path.name != "volume.dcm"]


def judge_slice(path):
    """A slice by itself is no volume; what else is wrong with it comes first, then its pixels are looked at."""
    try:
        hilum.read(path)
    except HilumError as error:
        if error.code != "single-slice":
            return "refused", error
    try:
        got, padding = one_frame(path)
    except HilumError as error:
        return "refused", error
    want = by_pydicom_alone(path)
    assert got.shape == want.shape
    differs = got != np.clip(want, -32768, 32767)
    assert (got[differs] == -1024).all(), path.name  # padding, and nothing else
    assert np.count_nonzero(differs) <= padding
    assert (want[differs] < -1024).all(), path.name
    return "read", f"{padding} voxels of padding"


def judge_volume(path):
    try:
        scan = hilum.read(path)
    except HilumError as error:
        return "refused", error
    want = itk_read(path)
    values = np.maximum(np.rint(want.array), -1024)
    np.testing.assert_array_equal(scan.ct.array, values)
    assert_same_geometry(scan.ct.geometry, want.geometry)
    return "read", ", ".join(note.code for note in scan.notes)


def judge_folder(path):
    try:
        scan = read_dicom(path)
    except HilumError as error:
        return "refused", error
    files = [pydicom.dcmread(p) for p in sorted(path.glob("*.dcm")) if p.name != "volume.dcm"]
    files = [ds for ds in files if ds.SeriesInstanceUID == scan.series_uid]
    want = {round(float(ds.ImagePositionPatient[2]), 3): by_pydicom_alone(ds.filename) for ds in files}
    for k, plane in enumerate(scan.ct.array):
        z = scan.ct.geometry.index_to_world((k, 0, 0))[2]
        nearest = min(want, key=lambda known, z=z: abs(known - z))
        assert abs(nearest - z) < 0.05
        np.testing.assert_array_equal(plane, np.maximum(want[nearest], -1024))
    return "read", ", ".join(note.code for note in scan.notes)


def verdicts(root):
    """One line for every slice, volume file and folder; data files count with their headers."""
    for path in slices_of(root):
        yield str(path.relative_to(root)), "slice", *judge_slice(path)
    for path in sorted(root.rglob("*")):
        if path.is_file() and suffix_of(path) in SCAN_SUFFIXES:
            yield str(path.relative_to(root)), "volume", *judge_volume(path)
    for path in sorted({p.parent for p in root.rglob("*.dcm")}):
        yield f"{path.relative_to(root)}/", "folder", *judge_folder(path)


@pytest.fixture(scope="module")
def table(root):
    return list(verdicts(root))


def test_every_odd_file_is_read_right_or_refused_in_one_line(root, table):
    for name, kind, verdict, reason in table:
        print(f"{name:110.110s} {kind:7s} {verdict:8s} {reason}")  # noqa: T201 - the table is wanted
    counts = Counter((kind, verdict) for _, kind, verdict, _ in table)
    print(counts)  # noqa: T201 - as above
    for _, _, verdict, reason in table:
        text = str(reason)
        assert text.isprintable()
        assert len(text) <= 300
        assert verdict == "read" or len(text) > 20
    judged = {name for name, *_ in table}
    left = [p for p in root.rglob("*") if p.is_file() and str(p.relative_to(root)) not in judged]
    assert {p.name for p in left if p.suffix not in _DATA_OF_OTHERS} == {"volume.dcm"}  # judged below


def test_which_slices_are_refused_is_known(table):
    refused = {name.rsplit("/", 1)[1] for name, kind, verdict, _ in table if (kind, verdict) == ("slice", "refused")}
    others = {"no-pixel-data.dcm", "no-pixel-spacing.dcm"}  # a report and an ultrasound image
    assert {name.rsplit("_", 1)[1] for name in refused - others} == {f"1.2.840.10008.1.2.{e}.dcm" for e in _NO_DECODER}
    assert others < refused


def test_lossless_syntaxes_agree_with_the_plain_one(root):
    folder = root / "transfer-syntaxes"
    plain, _ = one_frame(folder / "CTImage.dcm")
    agree = 0
    for path in sorted(folder.glob("CTImage.dcm_*")):
        if not any(f"1.2.840.10008.1.2.{end}.dcm" in path.name for end in (*_LOSSY, *_NO_DECODER)):
            np.testing.assert_array_equal(one_frame(path)[0], plain)
            agree += 1
    assert agree == 9


def test_the_comparison_can_fail(root, monkeypatch):
    path = root / "transfer-syntaxes" / "CTImage.dcm"
    plain = by_pydicom_alone(path)
    monkeypatch.setitem(globals(), "by_pydicom_alone", lambda _: plain + 1)
    with pytest.raises(AssertionError):
        judge_slice(path)


@pytest.mark.parametrize("name", ["dicom_enhanced", "dicom_slope", "dicom_intercept", "dicom_window_level", "dicom_4d"])
def test_folders_through_pydicom_give_the_same_bytes_or_the_same_refusal(root, monkeypatch, name):
    def outcome(read):
        try:
            scan = read(root / "panimg" / name)
        except HilumError as error:
            return str(error)
        return scan.ct.array.tobytes(), scan.ct.geometry, scan.notes

    quick = outcome(read_dicom)
    assert outcome(lambda folder: read_by_pydicom(monkeypatch, folder)) == quick
