"""What a header says of the patient reaches no output byte, no line on the screen, and no name of a file."""

from __future__ import annotations

import gzip
import warnings

import pydicom
import pytest
from small_runs import everything

from hilum import cli
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series

SECRETS = {
    "PatientName": "QZXSECSMITH^QZXSECJANE",
    "PatientID": "QZXSEC-0815-4711",
    "PatientBirthDate": "19330517",
    "PatientAddress": "QZXSEC Elm Street 5",
    "PatientComments": "QZXSEC comment\x1b[2J",
    "OtherPatientIDs": "QZXSECOTHER",
    "EthnicGroup": "QZXSECGROUP",
    "InstitutionName": "QZXSEC Hospital",
    "InstitutionAddress": "QZXSEC Road 9",
    "StationName": "QZXSECSTATION",
    "ReferringPhysicianName": "QZXSECDOC^REF",
    "OperatorsName": "QZXSECOPERATOR",
    "AccessionNumber": "QZXSECACC77",
    "StudyID": "QZXSECSTUDY",
    "StudyDate": "19870229",
    "StudyTime": "134751",
    "SeriesDescription": "QZXSEC series for Jane",
    "StudyDescription": "QZXSEC study",
    "ProtocolName": "QZXSEC protocol",
    "ImageComments": "QZXSEC image comment",
    "RequestedProcedureDescription": "QZXSEC request",
    "DeviceSerialNumber": "QZXSECSERIAL",
    "FrameOfReferenceUID": "1.2.840.99999.771",
    "StudyInstanceUID": "QZXSEC^UID of Jane",
    "RescaleType": "HU",
}
FORBIDDEN = [value.encode() for value in SECRETS.values() if value != "HU"] + [b"QZXSEC", b"qzxsec"]


def hide(ds, *, uid):
    for name, value in SECRETS.items():
        setattr(ds, name, value)
    ds.SOPInstanceUID = f"QZXSEC.{ds.InstanceNumber}"
    if uid:
        ds.SeriesInstanceUID = uid
    block = ds.private_block(0x0009, "QZXSEC MAKER", create=True)
    block.add_new(0x01, "LO", "QZXSEC private")
    block.add_new(0x02, "OB", b"QZXSEC private bytes")


@pytest.fixture(scope="module")
def scan():
    return make_phantom(seed=4, shape=(40, 80, 80), spacing=(7.5, 4.5, 4.5))


def series(folder, scan, uid="", spoil=None):
    write_dicom_series(scan, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that are not what they should be
        for path in sorted(folder.iterdir()):
            ds = pydicom.dcmread(path)
            hide(ds, uid=uid)
            if spoil:
                spoil(ds)
            ds.save_as(path)
    return folder


@pytest.fixture
def hilum(capfd):
    """Run a command; its status, and all that it and its decoders wrote on the screen."""

    def call(*words):
        status = cli.main([str(word) for word in words])
        told = capfd.readouterr()
        return status, (told.out + told.err).encode()

    return call


def leaks(*texts):
    return sorted({secret for text in texts for secret in FORBIDDEN if secret in text})


def test_the_search_finds_what_is_there(tmp_path, scan):
    folder = series(tmp_path / "in", scan)
    found = leaks(*everything(folder))
    assert len(found) == len(FORBIDDEN) - 1  # all but the small letters
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.nii.gz").write_bytes(gzip.compress(b"..QZXSEC.."))
    assert leaks(*everything(tmp_path / "out")) == [b"QZXSEC"]


@pytest.fixture
def coarse(tmp_path):
    (tmp_path / "coarse.toml").write_text("[resample]\nspacing_mm = 4.0\n")
    return "--recipe", tmp_path / "coarse.toml"


def test_no_secret_of_a_header_is_in_any_output(tmp_path, scan, hilum, coarse):
    folder, out = series(tmp_path / "in", scan), tmp_path / "out"
    out.mkdir()
    done = [
        hilum("run", folder, "--out", out / "run", *coarse),
        hilum("run", folder, "--out", out / "run-npy", "--format", "npy", *coarse),
        *(
            hilum("convert", folder, out / f"a{suffix}")
            for suffix in (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".npy")
        ),
        hilum("lungs", folder, out / "lungs.nii.gz"),
        hilum("info", folder),
        hilum("info", folder, "--json"),
        hilum("stats", out / "run"),
        hilum("report", out / "run"),
    ]
    assert [status for status, _ in done] == [0] * len(done), done
    assert leaks(*everything(out), *(told for _, told in done)) == []


def drop_rescale(ds):
    del ds.RescaleSlope


def other_modality(ds):
    ds.Modality = "QZXSEC"


def name_for_number(ds):
    ds.add_new(0x00281053, "LO", "QZXSECSMITH")


def name_for_place(ds):
    ds.add_new(0x00200032, "LO", "QZXSEC\\QZXSEC\\QZXSEC")


def name_for_type(ds):
    ds.RescaleType = "QZXSECJANE"


def name_for_kind(ds):
    ds.ImageType = ["QZXSEC", "QZXSEC", "LOCALIZER"]


@pytest.mark.parametrize(
    "spoil", [drop_rescale, other_modality, name_for_number, name_for_place, name_for_type, name_for_kind]
)
def test_no_secret_is_in_a_refusal(tmp_path, scan, spoil, hilum, coarse):
    folder, out = series(tmp_path / "in", scan, spoil=spoil), tmp_path / "out"
    out.mkdir()
    done = [
        hilum("run", folder, "--out", out / "run", *coarse),
        hilum("convert", folder, out / "a.nii.gz"),
        hilum("lungs", folder, out / "b.nii.gz"),
        hilum("info", folder),
        hilum("info", folder, "--json"),
    ]
    if spoil is not name_for_type:  # an unknown type of rescale is still read
        assert [status for status, _ in done] == [1] * len(done), done
    assert leaks(*everything(out), *(told for _, told in done)) == []
